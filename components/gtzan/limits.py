"""Limits of a usable track: ingest applies them to each track, the schema to the statistics."""

import dataclasses
import json

from components.audio.settings import AudioSettings


@dataclasses.dataclass(frozen=True)
class TrackLimits:
    """Limits of length, sample rate, level, silence and clipping; bounds are inclusive.

    Attributes:
      min_seconds: Shortest sound that can be classified: one window.
      max_seconds: Longest file; longer ones are mixes or recordings of something else.
      min_rate_hz: Lowest sample rate of the file, in hertz; lower ones are used for speech.
      max_rate_hz: Highest sample rate of the file, in hertz.
      min_peak: Least largest magnitude (0.01 is −40 dBFS); below is a recording fault, not music.
      min_rms_db: Least level of the whole clip, in dBFS.
      max_silent_fraction: Largest part that may be silent: of a clip of 30 s, 0.9 leaves one window
        of sound. It is measured on the sound itself, without padding.
      max_clipped_fraction: Largest part of the samples at full scale. Loud masters clip a little; a
        quarter is destroyed sound.
    """

    min_seconds: float = 3.0
    max_seconds: float = 3600.0
    min_rate_hz: int = 8000
    max_rate_hz: int = 384_000
    min_peak: float = 0.01
    min_rms_db: float = -60.0
    max_silent_fraction: float = 0.9
    max_clipped_fraction: float = 0.25

    @classmethod
    def of(cls, audio: AudioSettings) -> "TrackLimits":
        """The limits of a run: the shortest track is one window."""
        return cls(min_seconds=float(audio.window_seconds))

    def to_json(self) -> str:
        """Serialises the limits; equal limits give equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "TrackLimits":
        """Restores what `to_json` wrote."""
        return cls(**json.loads(text))
