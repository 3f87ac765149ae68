"""The short-time spectrum, and mel bands, decibels and cepstrum computed from it.

Every function builds core TensorFlow operations on the last one or two axes, so it takes a clip
`[samples]` as well as a batch `[batch, samples]`. The constant matrices are librosa's
own, made once when the graph is built.
"""

import functools
import math

import librosa
import numpy as np
import numpy.typing as npt
import scipy.fft
import tensorflow as tf
import tensorflow_io as tfio

from components.audio.settings import AudioSettings

# Power below which decibels stop (-100 dB), so that silence has a finite level; librosa's `amin`.
SMALLEST_POWER = 1e-10

_COLUMNS_TOGETHER = 32
_DECIBELS_PER_NEPER = 10.0 / math.log(10.0)


def magnitudes(waveform: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Magnitudes of the short-time Fourier transform (periodic Hann window, end padded by zeros).

    Frame `t` covers samples `t * hop_length … t * hop_length + fft_length - 1`: librosa's
    `stft(center=False)` of the sound with its end padded to a whole frame.

    Args:
      waveform: float32 [..., samples], full scale is 1.
      settings: The analysis settings.

    Returns:
      float32 [..., ceil(samples / hop_length), fft_length / 2 + 1], zero or more.
    """
    return tfio.audio.spectrogram(
        waveform,
        nfft=settings.fft_length,
        window=settings.fft_length,
        stride=settings.hop_length,
    )


@functools.lru_cache(maxsize=8)
def mel_matrix(settings: AudioSettings) -> npt.NDArray[np.float32]:
    """Weights from spectrum bins to mel bands: Slaney's scale and area normalisation.

    tensorflow-io's `melscale` has HTK's scale without normalisation; these are librosa's defaults,
    which the published descriptors of GTZAN were computed with.

    Returns:
      float32 [fft_length / 2 + 1, mel_bins], read-only.
    """
    matrix = librosa.filters.mel(
        sr=settings.sample_rate_hz, n_fft=settings.fft_length, n_mels=settings.mel_bins
    )
    return _constant(matrix.T)


@functools.lru_cache(maxsize=8)
def cosine_matrix(bands: int, coefficients: int) -> npt.NDArray[np.float32]:
    """The first columns of the orthonormal DCT-II, float32 [bands, coefficients], read-only."""
    transform = scipy.fft.dct(np.eye(bands), type=2, norm="ortho", axis=1)
    return _constant(transform[:, :coefficients])


def _constant(matrix: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """A contiguous, read-only float32 copy, safe to cache."""
    result = np.ascontiguousarray(matrix, dtype=np.float32)
    result.flags.writeable = False
    return result


def project(values: tf.Tensor, matrix: npt.NDArray[np.float32]) -> tf.Tensor:
    """Multiplies the last axis by a constant matrix: [..., n] by [n, m] gives [..., m].

    A mel band weighs a few neighbouring bins. The columns are taken in groups, each with only the
    rows that it weighs, which saves three quarters of the products.
    """
    products = []
    for start in range(0, matrix.shape[1], _COLUMNS_TOGETHER):
        columns = matrix[:, start : start + _COLUMNS_TOGETHER]
        weighed = np.flatnonzero(columns.any(axis=1))
        first, end = (weighed[0], weighed[-1] + 1) if weighed.size else (0, 1)
        group = tf.constant(columns[first:end])
        products.append(tf.tensordot(values[..., first:end], group, axes=1))
    return tf.concat(products, axis=-1)


def decibels(power: tf.Tensor) -> tf.Tensor:
    """Power as decibels relative to 1: `10 log10(max(power, 1e-10))`, at least -100."""
    return _DECIBELS_PER_NEPER * tf.math.log(tf.maximum(power, SMALLEST_POWER))


def cut_below_peak(level_db: tf.Tensor, top_db: float) -> tf.Tensor:
    """Raises all values more than `top_db` below a sound's loudest bin to that level.

    tensorflow-io's `dbscale` takes the maximum over the whole tensor, so that a clip's features
    would depend on the clips that happen to share its batch. Here the maximum is per clip.

    Args:
      level_db: float32 [..., frames, bins], decibels.
      top_db: Decibels kept below the loudest bin of each `[frames, bins]`.
    """
    peak_db = tf.reduce_max(level_db, axis=(-2, -1), keepdims=True)
    return tf.maximum(level_db, peak_db - top_db)


def log_mel(magnitude: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Mel power spectrogram in decibels, cut `top_db` below the sound's loudest bin.

    Equals `librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude.T ** 2, …))`.

    Args:
      magnitude: float32 [..., frames, fft_length / 2 + 1] from `magnitudes`.
      settings: The analysis settings.

    Returns:
      float32 [..., frames, mel_bins], decibels relative to a power of 1, at least -100.
    """
    power = project(tf.square(magnitude), mel_matrix(settings))
    return cut_below_peak(decibels(power), settings.top_db)


def mfcc(level_db: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II over the bands of `log_mel`.

    Equals `librosa.feature.mfcc(S=level_db.T, n_mfcc=mfcc_coefficients)`.
    Source: Davis and Mermelstein, IEEE Trans. ASSP 28 (4), 1980.

    Args:
      level_db: float32 [..., frames, mel_bins] from `log_mel`.
      settings: The analysis settings.

    Returns:
      float32 [..., frames, mfcc_coefficients].
    """
    return project(level_db, cosine_matrix(settings.mel_bins, settings.mfcc_coefficients))
