"""A sound inside a TensorFlow graph, with the intermediate results that several features share."""

import functools

import tensorflow as tf

from components.audio import spectral
from components.audio.settings import AudioSettings


class Sound:
    """One sound. Each intermediate result is computed when a feature first reads it, and once.

    Attributes:
      waveform: float32 [samples], full scale is 1.
      settings: The analysis settings.
    """

    def __init__(self, waveform: tf.Tensor, settings: AudioSettings) -> None:
        self.waveform = waveform
        self.settings = settings

    @functools.cached_property
    def magnitude(self) -> tf.Tensor:
        """Short-time Fourier magnitudes, float32 [frames, fft_length / 2 + 1]."""
        return spectral.magnitudes(self.waveform, self.settings)

    @functools.cached_property
    def level_db(self) -> tf.Tensor:
        """Mel power in decibels, float32 [frames, mel_bins]; see `spectral.log_mel`."""
        return spectral.log_mel(self.magnitude, self.settings)

    @functools.cached_property
    def cepstrum(self) -> tf.Tensor:
        """Mel-frequency cepstral coefficients, float32 [frames, mfcc_coefficients]."""
        return spectral.mfcc(self.level_db, self.settings)
