"""Descriptors of single frames: brightness, noisiness, pitch classes, contrast.

Graph functions of core TensorFlow operations on one sound. Frames are those of
`components.audio.spectral.magnitudes`: frame `t` starts at sample `t * hop_length`, the end is
padded with zeros. So each equals librosa's function of that name with `center=False` on the padded
sound.
"""

import functools

import librosa
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.audio import spectral
from components.audio.settings import AudioSettings

PITCH_CLASSES = 12
TONNETZ_DIMENSIONS = 6
CONTRAST_BANDS = 7

_ROLL_OFF_SHARE = 0.85
_ROLL_OFF_GROUP = 32
_CONTRAST_LOWEST_EDGE_HZ = 200.0
_CONTRAST_QUANTILE = 0.02
# Samples nearer to zero than this count as zero (and so as positive): librosa's threshold.
_ZERO = 1e-10


def bin_frequencies_hz(settings: AudioSettings) -> npt.NDArray[np.float32]:
    """Centre frequencies of the spectrum's bins, float32 [fft_length / 2 + 1], hertz."""
    frequencies = librosa.fft_frequencies(sr=settings.sample_rate_hz, n_fft=settings.fft_length)
    return frequencies.astype(np.float32)


def centroid_and_bandwidth(
    magnitude: tf.Tensor, settings: AudioSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean frequency of a spectrum and the standard deviation around it, magnitudes as weights.

    Source: Klapuri and Davy, Signal Processing Methods for Music Transcription, 2007, chapter 5.

    Args:
      magnitude: float32 [frames, fft_length / 2 + 1].
      settings: The analysis settings.

    Returns:
      Centroid and bandwidth, float32 [frames, 1] each, hertz; 0 for silence.
    """
    frequencies_hz = bin_frequencies_hz(settings)
    moments = spectral.project(
        magnitude, np.stack([np.ones_like(frequencies_hz), frequencies_hz], axis=1)
    )
    total = moments[:, :1]
    centroid = tf.math.divide_no_nan(moments[:, 1:], total)
    # Deviations, not the second moment less the centroid's square: that would cancel for a tone.
    deviation = magnitude * tf.math.squared_difference(frequencies_hz, centroid)
    variance = tf.math.divide_no_nan(tf.reduce_sum(deviation, axis=1, keepdims=True), total)
    return centroid, tf.sqrt(variance)


def roll_off(magnitude: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Frequency below which 85 % of a spectrum's magnitude lies.

    The bin is looked for in two steps, first among groups of 32 bins, then inside the group: a
    cumulative sum over all bins takes four times as long.

    Args:
      magnitude: float32 [frames, fft_length / 2 + 1].
      settings: The analysis settings.

    Returns:
      float32 [frames, 1], hertz, a bin's centre; 0 for silence.
    """
    bins = settings.fft_length // 2 + 1
    groups = -(-bins // _ROLL_OFF_GROUP)
    padded = tf.pad(magnitude, [[0, 0], [0, groups * _ROLL_OFF_GROUP - bins]])
    grouped = tf.reshape(padded, [-1, groups, _ROLL_OFF_GROUP])
    up_to_group = tf.cumsum(tf.reduce_sum(grouped, axis=2), axis=1)
    threshold = _ROLL_OFF_SHARE * up_to_group[:, -1:]
    group = tf.reduce_sum(tf.cast(up_to_group < threshold, tf.int32), axis=1)
    before = tf.pad(up_to_group, [[0, 0], [1, 0]])
    inside = tf.cumsum(tf.gather(grouped, group, batch_dims=1), axis=1)
    reached = tf.gather(before, group, batch_dims=1)[:, tf.newaxis] + inside
    position = tf.reduce_sum(tf.cast(reached < threshold, tf.int32), axis=1)
    bin_index = tf.cast(group * _ROLL_OFF_GROUP + position, tf.float32)
    return bin_index[:, tf.newaxis] * (settings.sample_rate_hz / settings.fft_length)


@functools.lru_cache(maxsize=8)
def contrast_bands(settings: AudioSettings) -> tuple[tuple[int, int, int], ...]:
    """The octave bands of spectral contrast: 0 to 200 Hz, then six octaves up, the last to the end.

    As librosa draws them: a band starts one bin under its lower edge, and all but the last lose
    their uppermost bin, yet their quantile is taken of the size before that.

    Returns:
      For each band its first bin, the bin after its last, and how many of its strongest (and of its
      weakest) bins are averaged: 2 % of them, at least one.
    """
    frequencies_hz = bin_frequencies_hz(settings)
    octaves = _CONTRAST_LOWEST_EDGE_HZ * 2.0 ** np.arange(CONTRAST_BANDS)
    edges_hz = [0.0, *octaves]
    bands = []
    for band in range(CONTRAST_BANDS):
        inside = np.flatnonzero(
            (frequencies_hz >= edges_hz[band]) & (frequencies_hz <= edges_hz[band + 1])
        )
        is_last = band == CONTRAST_BANDS - 1
        start = int(inside[0]) - (band > 0)
        stop = len(frequencies_hz) if is_last else int(inside[-1]) + 1
        averaged = max(1, int(np.rint(_CONTRAST_QUANTILE * (stop - start))))
        bands.append((start, stop if is_last else stop - 1, averaged))
    return tuple(bands)


def contrast(magnitude: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Spectral contrast: how far the peaks of an octave band stand above its valleys.

    Source: Jiang et al., Music type classification by spectral contrast feature, ICME 2002.

    Args:
      magnitude: float32 [frames, fft_length / 2 + 1].
      settings: The analysis settings.

    Returns:
      float32 [frames, 7], decibels.
    """
    peaks, valleys = [], []
    for start, stop, averaged in contrast_bands(settings):
        band = magnitude[:, start:stop]
        if averaged == 1:
            peaks.append(tf.reduce_max(band, axis=1))
            valleys.append(tf.reduce_min(band, axis=1))
        else:
            peaks.append(_mean_of_strongest(band, averaged))
            valleys.append(-_mean_of_strongest(-band, averaged))
    levels_db = [
        spectral.cut_below_peak(spectral.decibels(tf.stack(values, axis=1)), top_db=80.0)
        for values in (peaks, valleys)
    ]
    return levels_db[0] - levels_db[1]


def _mean_of_strongest(values: tf.Tensor, count: int) -> tf.Tensor:
    """Mean of the `count` greatest of each row: [rows, n] gives [rows]."""
    return tf.reduce_mean(tf.math.top_k(values, count, sorted=False).values, axis=1)


@functools.lru_cache(maxsize=8)
def chroma_matrix(settings: AudioSettings) -> npt.NDArray[np.float32]:
    """Weights from power to pitch classes (C first), A4 = 440 Hz: float32 [bins, 12]."""
    matrix = librosa.filters.chroma(
        sr=settings.sample_rate_hz, n_fft=settings.fft_length, n_chroma=PITCH_CLASSES, tuning=0.0
    )
    return np.ascontiguousarray(matrix.T, dtype=np.float32)


def chroma(magnitude: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Power by pitch class, the strongest class of each frame being 1.

    Tuning is taken as A4 = 440 Hz: librosa would first estimate it from the whole sound.

    Args:
      magnitude: float32 [frames, fft_length / 2 + 1].
      settings: The analysis settings.

    Returns:
      float32 [frames, 12] in [0, 1], C first; 0 for silence.
    """
    power = spectral.project(tf.square(magnitude), chroma_matrix(settings))
    return tf.math.divide_no_nan(power, tf.reduce_max(power, axis=1, keepdims=True))


def tonnetz(pitch_classes: tf.Tensor) -> tf.Tensor:
    """Tonal centroid: pitch classes as coordinates of fifths, minor thirds and major thirds.

    Equals `librosa.feature.tonnetz(chroma=…)`. librosa's own default is chroma of a constant-Q
    transform, which costs far more than all else here.
    Source: Harte, Sandler and Gasser, Detecting harmonic change in musical audio, 2006.

    Args:
      pitch_classes: float32 [frames, 12] from `chroma`.

    Returns:
      float32 [frames, 6] in [-1, 1].
    """
    intervals = np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angles = np.multiply.outer(intervals, np.arange(PITCH_CLASSES))
    angles[::2] -= 0.5  # the first of each pair is a sine
    radii = np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    coordinates = radii[:, np.newaxis] * np.cos(np.pi * angles)
    shares = tf.math.divide_no_nan(
        pitch_classes, tf.reduce_sum(pitch_classes, axis=1, keepdims=True)
    )
    return spectral.project(shares, coordinates.T.astype(np.float32))


def rms_and_zero_crossings(
    waveform: tf.Tensor, frames: tf.Tensor, settings: AudioSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Root mean square and zero-crossing rate of each frame.

    Overlapping frames are sums of the same blocks of `hop_length` samples, so each sample is
    looked at once.

    Args:
      waveform: float32 [samples].
      frames: Number of frames of the sound.
      settings: The analysis settings.

    Returns:
      Root mean square (full scale is 1) and sign changes a sample, float32 [frames, 1] each.

    Raises:
      ValueError: The FFT length is no multiple of the hop length.
    """
    hop_length, fft_length = settings.hop_length, settings.fft_length
    if fft_length % hop_length:
        raise ValueError(
            "descriptors: fft_length must be a multiple of hop_length. "
            f"Received: {fft_length} and {hop_length}"
        )
    blocks_per_frame = fft_length // hop_length
    blocks = frames + blocks_per_frame - 1
    padding = blocks * hop_length - tf.shape(waveform)[0]
    padded = tf.pad(waveform, [[0, padding]])

    def over_frames(by_block: tf.Tensor) -> tf.Tensor:
        return tf.add_n([by_block[i : i + frames] for i in range(blocks_per_frame)])

    energy = tf.reduce_sum(tf.reshape(tf.square(padded), [-1, hop_length]), 1, keepdims=True)
    rms = tf.sqrt(over_frames(energy) / fft_length)

    negative = padded < -_ZERO
    changes = tf.pad(tf.cast(negative[1:] != negative[:-1], tf.float32), [[1, 0]])
    by_block = tf.reshape(changes, [-1, hop_length])
    # A frame's first sample has no sample before it inside the frame.
    inside = over_frames(tf.reduce_sum(by_block, 1, keepdims=True)) - by_block[:frames, :1]
    return rms, inside / fft_length
