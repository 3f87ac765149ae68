"""Ingest settings, in plain Python so that the command line loads them without TensorFlow."""

import dataclasses
import json
from typing import Any

from components.audio.settings import AudioSettings
from components.gtzan import splits

# What becomes of near-duplicates, see `IngestSettings.duplicates`.
WARN, DROP = DUPLICATES = ("warn", "drop")


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """How tracks are assigned to splits.

    Attributes:
      method: One of `components.gtzan.splits.METHODS`.
      seed: Seed of the hash that `stratified` and `artist` use.
      ratios: Shares of validation and test; train has the rest.
      lists: Folder with the text files for `listed`; may be gs:// or s3://.
      family: Which lists of that folder to use: `filtered` for `train_filtered.txt`.
      artists: CSV file for `artist`, with the columns track_id and artist.
    """

    method: str = "stratified"
    seed: int = 0
    ratios: splits.Ratios = dataclasses.field(default_factory=splits.Ratios)
    lists: str = ""
    family: str = ""
    artists: str = ""

    def __post_init__(self) -> None:
        if self.method not in splits.METHODS:
            raise splits.SplitError(
                f"unknown split method: expected one of {splits.METHODS}. Received: {self.method!r}"
            )
        if self.method == "listed" and not self.lists:
            raise splits.SplitError(
                "split method listed needs the folder of the lists. Received: ''"
            )
        if self.method == "artist" and not self.artists:
            raise splits.SplitError("split method artist needs a file of artists. Received: ''")


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """All settings that determine the output of ingest for given data.

    Attributes:
      genres: Genres in label order; each has a folder of that name.
      audio: Rate and length of a clip.
      split: How tracks are assigned to splits.
      max_rejected: Largest share of the audio files that may be faulty, 0 to 1. Duplicates and
        tracks on no list are left out but do not count as faults.
      tracks_per_shard: Most tracks in one TFRecord file (1.3 MB each).
      duplicates: What becomes of near-duplicates (the same recording re-encoded, shifted or a
        little faster): `warn` lists them, `drop` keeps the first by path and leaves out the others.

    Example:
      >>> settings = IngestSettings(genres=("blues", "jazz"), split=SplitSettings(seed=7))
      >>> IngestSettings.from_json(settings.to_json()) == settings
      True
    """

    genres: tuple[str, ...]
    audio: AudioSettings = dataclasses.field(default_factory=AudioSettings)
    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    max_rejected: float = 0.05
    tracks_per_shard: int = 32
    duplicates: str = WARN

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_rejected <= 1.0:
            raise ValueError(f"max_rejected must be from 0 to 1. Received: {self.max_rejected}")
        if self.tracks_per_shard < 1:
            raise ValueError(
                f"tracks_per_shard must be 1 or more. Received: {self.tracks_per_shard}"
            )
        if self.duplicates not in DUPLICATES:
            raise ValueError(
                f"duplicates must be one of {', '.join(DUPLICATES)}. Received: {self.duplicates!r}"
            )
        if not self.genres:
            raise ValueError("genres must name at least one. Received: ()")

    def to_json(self) -> str:
        """Serialises the settings; equal settings give equal text, which TFX's cache relies on."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "IngestSettings":
        """Restores what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        split = dict(values["split"])
        split["ratios"] = splits.Ratios(**split["ratios"])
        return cls(
            **{
                **values,
                "audio": AudioSettings(**values["audio"]),
                "split": SplitSettings(**split),
                "genres": tuple(values["genres"]),
            }
        )
