"""The input of the networks that were pretrained on the Million Song Dataset (`musicnn`).

They were trained on 16 kHz sound: Hann 512, hop 256, 96 Slaney mel bands to 8 kHz, and
`log10(10000 · power + 1)` (Pons and Serra, arXiv 1909.06654). At 22 050 Hz a window of 706 and a
hop of 353 samples last as long, so the sound needs no resampling. A longer window gathers more
power and a longer transform spreads it over more bins: by Parseval a band's sum grows with the
product of both lengths, which the factor `512 · 512 / (706 · 1024)` takes back.
"""

import functools

import librosa
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.audio import spectral
from components.audio.features.music_mel import BINS, HIGHEST_HZ, HOP_LENGTH
from components.audio.settings import AudioSettings

WINDOW_LENGTH = 2 * HOP_LENGTH
FFT_LENGTH = 1024
COMPRESSION = 10_000.0

_ORIGINAL_LENGTH = 512  # of window and transform


@functools.lru_cache(maxsize=4)
def music_mel_matrix(sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """Weights from power to the networks' bands, lengths made up for: float32 [513, 96]."""
    matrix = librosa.filters.mel(sr=sample_rate_hz, n_fft=FFT_LENGTH, n_mels=BINS, fmax=HIGHEST_HZ)
    scaled = matrix.T * (_ORIGINAL_LENGTH**2 / (WINDOW_LENGTH * FFT_LENGTH))
    return np.ascontiguousarray(scaled, dtype=np.float32)


def music_mel(waveform: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Compressed mel power as the pretrained networks read it.

    Args:
      waveform: float32 [..., samples], full scale is 1.
      settings: The analysis settings (its sample rate is read).

    Returns:
      float32 [..., ceil(samples / 353), 96], zero or more; 1874 frames for a 30 s clip.
    """
    spectrum = tf.signal.stft(
        waveform,
        frame_length=WINDOW_LENGTH,
        frame_step=HOP_LENGTH,
        fft_length=FFT_LENGTH,
        pad_end=True,
    )
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    bands = spectral.project(power, music_mel_matrix(settings.sample_rate_hz))
    return tf.math.log1p(COMPRESSION * bands) / np.float32(np.log(10.0))
