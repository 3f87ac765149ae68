"""Ingest settings, in plain Python so that the command line loads them without TensorFlow."""

import dataclasses
import json
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from components.audio.settings import AudioSettings
from components.common.settings_errors import CONFIG, validated
from components.gtzan import splits

# What becomes of near-duplicates, see `IngestSettings.duplicates`.
WARN: Literal["warn"] = "warn"
DROP: Literal["drop"] = "drop"
DUPLICATES = (WARN, DROP)
_USUAL_FAULTY_SHARE, _USUAL_FAULTY_FILES = 0.05, 3


@dataclass(frozen=True, config=CONFIG)
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
    ratios: splits.Ratios = splits.Ratios()
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


@dataclass(frozen=True, config=CONFIG)
class IngestSettings:
    """All settings that determine the output of ingest for given data.

    Attributes:
      genres: Genres in label order; each has a folder of that name.
      audio: Rate and length of a clip.
      split: How tracks are assigned to splits.
      max_rejected: Largest share of the audio files that may be faulty, 0 to 1; None for the larger
        of 5 % and 3 files. Duplicates and tracks on no list are left out but are no faults.
      tracks_per_shard: Most tracks in one TFRecord file (1.3 MB each).
      duplicates: What becomes of near-duplicates (the same recording re-encoded, shifted or a
        little faster): `warn` lists them, `drop` keeps the first by path and leaves out the others.

    Examples:
      >>> settings = IngestSettings(genres=("blues", "jazz"), split=SplitSettings(seed=7))
      >>> IngestSettings.from_json(settings.to_json()) == settings
      True
    """

    genres: Annotated[tuple[str, ...], Field(min_length=1)]
    audio: AudioSettings = AudioSettings()
    split: SplitSettings = SplitSettings()
    max_rejected: Annotated[float | None, Field(ge=0, le=1)] = None
    tracks_per_shard: Annotated[int, Field(ge=1)] = 32
    duplicates: Literal["warn", "drop"] = WARN

    def most_faulty(self, files: int) -> int:
        """How many of so many files may be faulty.

        Examples:
          >>> settings = IngestSettings(genres=("blues", "jazz"))
          >>> settings.most_faulty(32), settings.most_faulty(1000)
          (3, 50)
        """
        if self.max_rejected is None:
            return max(_USUAL_FAULTY_FILES, int(_USUAL_FAULTY_SHARE * files))
        return int(self.max_rejected * files)

    def to_json(self) -> str:
        """Serialises the settings; equal settings give equal text, which TFX's cache relies on."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "IngestSettings":
        """Restores what `to_json` wrote."""
        return validated(cls, json.loads(text))
