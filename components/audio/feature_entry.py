"""What a feature is: its description for given settings, and the entry that defines it.

Nothing here imports TensorFlow: the command line, the DAG and a model's `build` read names and
shapes at no cost.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from components.audio.settings import AudioSettings


@dataclasses.dataclass(frozen=True)
class Feature:
    """A feature under given analysis settings, as a matrix of frames by bins.

    Attributes:
      name: Its key in a transformed example.
      frames_per_clip: Rows for a 30 s clip.
      bins: Columns.
      frames_per_second: Rows a second of sound.
      window_frames: Rows in one window, the unit that a model reads.
      standardised: Whether Transform subtracts the training split's mean and divides by its
        standard deviation, column by column.
      clips_per_track: Clips that a track's matrix has room for, one below the other.
      highest_mel_hz: Upper end of the bins, in hertz, where they are bands of Slaney's mel scale;
        None where they are not, and cannot be shifted in pitch or equalised.
    """

    name: str
    frames_per_clip: int
    bins: int
    frames_per_second: float
    window_frames: int
    standardised: bool
    clips_per_track: int = 1
    highest_mel_hz: float | None = None

    @property
    def clip_shape(self) -> tuple[int, int]:
        """Shape of a clip's matrix: (frames_per_clip, bins)."""
        return self.frames_per_clip, self.bins

    @property
    def track_shape(self) -> tuple[int, int]:
        """Shape of a track's matrix: (clips_per_track * frames_per_clip, bins)."""
        return self.clips_per_track * self.frames_per_clip, self.bins

    @property
    def windows_per_track(self) -> int:
        """Windows that a track's matrix has room for (ten a clip)."""
        return self.clips_per_track * self.windows_per_clip

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape of a model's input: (window_frames, bins)."""
        return self.window_frames, self.bins

    @property
    def windows_per_clip(self) -> int:
        """Whole windows, end to end, in a clip (ten)."""
        return self.frames_per_clip // self.window_frames


def _no_limits(settings: AudioSettings, model: str) -> None:
    """Accepts all settings."""


@dataclasses.dataclass(frozen=True)
class FeatureEntry:
    """The definition of one feature: what its file in `components/audio/features` holds as `ENTRY`.

    Attributes:
      name: The name of the file, and the feature's key in a transformed example.
      compute: Computes the feature from a `components.audio.sound.Sound`, in a TensorFlow graph:
        float32 [frames, bins]. It imports TensorFlow within the function.
      hop_samples: Samples from the start of one frame to the start of the next.
      bins: Columns.
      window_frames: Frames in the window that a model reads.
      standardised: Whether Transform standardises it by the training split's statistics.
      whole_frames: Whether sound at the end that does not fill a frame is left out; it is padded
        with zeros to a frame otherwise.
      highest_mel_hz: Upper end of the bins, in hertz, where they are Slaney mel bands.
      check: Raises ValueError for settings that the feature cannot be computed with. It is called
        with the settings and the name of the model that reads the feature, and its message names
        the setting as the command line does (`audio.mel_bins`), and the model.
    """

    name: str
    compute: Callable[[Any], Any]
    hop_samples: Callable[[AudioSettings], int]
    bins: Callable[[AudioSettings], int]
    window_frames: Callable[[AudioSettings], int]
    standardised: bool = True
    whole_frames: bool = False
    highest_mel_hz: Callable[[AudioSettings], float] | None = None
    check: Callable[[AudioSettings, str], None] = _no_limits

    def frames_in(self, samples: Any, settings: AudioSettings) -> Any:
        """Frames of a sound of `samples` samples, an int or an integer tensor."""
        hop = self.hop_samples(settings)
        return samples // hop if self.whole_frames else -(-samples // hop)

    def check_window(self, settings: AudioSettings, model: str) -> None:
        """Raises ValueError unless the shortest accepted sound holds a window of `model`."""
        frames = self.window_frames(settings)
        if self.frames_in(settings.minimum_samples, settings) < frames:
            seconds = frames * self.hop_samples(settings) / settings.sample_rate_hz
            raise ValueError(
                f"audio.window_seconds must be at least {seconds:.2f} for {model}, whose windows "
                "are of that length: leave the setting out, or the model. "
                f"Received: {settings.window_seconds:g}"
            )

    def describe(self, settings: AudioSettings) -> Feature:
        """The feature's shape and rate under `settings`."""
        return Feature(
            self.name,
            frames_per_clip=self.frames_in(settings.clip_samples, settings),
            bins=self.bins(settings),
            frames_per_second=settings.sample_rate_hz / self.hop_samples(settings),
            window_frames=self.window_frames(settings),
            standardised=self.standardised,
            clips_per_track=settings.clips_per_track,
            highest_mel_hz=self.highest_mel_hz(settings) if self.highest_mel_hz else None,
        )
