"""The features that a model can read, described without TensorFlow.

`components.audio.extraction` computes them in the graph; this module says what they are, so that
the command line, the DAG and a model's `build` know names and shapes at no cost.
"""

import dataclasses

from components.audio.settings import AudioSettings

# music_mel is the input of the networks in the PyPI package `musicnn` (16 kHz, FFT 512, hop 256),
# expressed for 22 050 Hz sound: the same frames a second and the same frequency range.
MUSIC_MEL_HOP_LENGTH = 353
MUSIC_MEL_BINS = 96
MUSIC_MEL_WINDOW_FRAMES = 187

DESCRIPTOR_COUNT = 209  # columns of components.audio.descriptors.COLUMNS (a test holds them equal)


@dataclasses.dataclass(frozen=True)
class Feature:
    """One kind of input, as a matrix of frames by bins.

    Attributes:
      name: Its key in a transformed example.
      frames_per_clip: Rows for a 30 s clip.
      bins: Columns.
      frames_per_second: Rows a second of sound.
      window_frames: Rows in one window, the unit that a model reads.
      standardised: Whether Transform subtracts the training split's mean and divides by its
        standard deviation, column by column.
    """

    name: str
    frames_per_clip: int
    bins: int
    frames_per_second: float
    window_frames: int
    standardised: bool

    @property
    def clip_shape(self) -> tuple[int, int]:
        """Shape of a clip's matrix: (frames_per_clip, bins)."""
        return self.frames_per_clip, self.bins

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape of a model's input: (window_frames, bins)."""
        return self.window_frames, self.bins

    @property
    def windows_per_clip(self) -> int:
        """Whole windows, end to end, in a clip (ten)."""
        return self.frames_per_clip // self.window_frames


FEATURE_NAMES = ("log_mel", "mfcc", "descriptors", "music_mel")


def feature(name: str, settings: AudioSettings) -> Feature:
    """Describes the feature `name`.

    Args:
      name: One of `FEATURE_NAMES`.
      settings: The analysis settings.

    Raises:
      ValueError: There is no feature of that name.
    """
    if name == "log_mel":
        return Feature(
            name,
            settings.frames_per_clip,
            settings.mel_bins,
            settings.frames_per_second,
            settings.window_frames,
            standardised=True,
        )
    if name == "mfcc":
        return Feature(
            name,
            settings.frames_per_clip,
            settings.mfcc_coefficients,
            settings.frames_per_second,
            settings.window_frames,
            standardised=True,
        )
    if name == "descriptors":
        return Feature(
            name,
            settings.clip_samples // settings.window_samples,
            DESCRIPTOR_COUNT,
            settings.sample_rate_hz / settings.window_samples,
            window_frames=1,
            standardised=True,
        )
    if name == "music_mel":
        return Feature(
            name,
            -(-settings.clip_samples // MUSIC_MEL_HOP_LENGTH),
            MUSIC_MEL_BINS,
            settings.sample_rate_hz / MUSIC_MEL_HOP_LENGTH,
            MUSIC_MEL_WINDOW_FRAMES,
            standardised=False,
        )
    raise ValueError(f"unknown feature: expected one of {FEATURE_NAMES}. Received: {name!r}")
