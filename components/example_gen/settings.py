"""What the ingest is told, in plain Python that the command line can load at no cost."""

import dataclasses
import json
from typing import Any

from components.audio.settings import AudioSettings
from components.gtzan import genres, splits


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """How tracks come into splits.

    Attributes:
      method: One of `components.gtzan.splits.METHODS`.
      seed: Seed of the hash that `stratified` and `artist` split by.
      ratios: Parts of validation and test; train has the rest.
      lists: Folder with the text files of `listed`; may be gs:// or s3://.
      family: Which of the folder's lists, as `filtered` in `train_filtered.txt`.
      artists: CSV file of `artist`, with the columns track_id and artist.
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
    """Everything that decides what the ingest writes, besides the data.

    Attributes:
      audio: Rate and length of a clip.
      split: How tracks come into splits.
      genres: Genres in label order; each has a folder of that name.
      max_rejected: Largest part of the audio files that may be faulty, 0 to 1. Duplicates and
        tracks on no list are left out but are no faults.
      tracks_per_shard: Most tracks in one TFRecord file (1.3 MB each).
    """

    audio: AudioSettings = dataclasses.field(default_factory=AudioSettings)
    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    genres: tuple[str, ...] = genres.GENRES
    max_rejected: float = 0.05
    tracks_per_shard: int = 32

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_rejected <= 1.0:
            raise ValueError(f"max_rejected must be from 0 to 1. Received: {self.max_rejected}")
        if self.tracks_per_shard < 1:
            raise ValueError(
                f"tracks_per_shard must be 1 or more. Received: {self.tracks_per_shard}"
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
