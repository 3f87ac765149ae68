"""Augmentation of training windows, vectorised over the batch and without state.

All random numbers come from a seed that the caller passes, so that the same seed gives the same
batch. Augmentation runs in tf.data on the host and is never part of the exported graph.
"""

import librosa
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer.settings import AugmentationSettings

_LEVELS = 6  # of the equaliser's curve


def augment(
    windows: tf.Tensor,
    labels: tf.Tensor,
    *,
    seed: tf.Tensor,
    feature: Feature,
    settings: AugmentationSettings,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments a batch of windows.

    Args:
      windows: float32 [batch, source_frames, bins].
      labels: float32 [batch, genres], one-hot.
      seed: int64 [2]; all random numbers come from it.
      feature: What the windows hold.
      settings: The strength of each augmentation.

    Returns:
      float32 [batch, window_frames, bins] and float32 [batch, genres]. Only mixup changes the
      labels.
    """
    seeds = tf.unstack(tf.random.split(seed, 8))
    stretch, pitch, gain, noise, bands, stretches, mix, curve = seeds
    frames = feature.window_frames
    if windows.shape[1] != frames:
        windows = _stretch_time(windows, frames, settings.time_stretch, stretch)
    if settings.pitch_shift_semitones and feature.highest_mel_hz:
        windows = _shift_pitch(
            windows, settings.pitch_shift_semitones, feature.highest_mel_hz, pitch
        )
    if settings.gain:
        windows += _uniform(windows, gain, -settings.gain, settings.gain)[:, None, None]
    if settings.equaliser and feature.highest_mel_hz:
        windows = _equalise(windows, settings.equaliser, curve)
    if settings.bin_offset:
        offset = tf.random.experimental.stateless_fold_in(curve, 1)
        shape = [tf.shape(windows)[0], 1, windows.shape[2]]
        most = settings.bin_offset
        windows += tf.random.stateless_uniform(shape, offset, -most, most)
    if settings.noise:
        windows += settings.noise * tf.random.stateless_normal(tf.shape(windows), noise)
    for _ in range(settings.frequency_masks if settings.frequency_mask else 0):
        bands, mask_seed = tf.unstack(tf.random.split(bands, 2))
        windows = _mask(windows, settings.frequency_mask, axis=2, seed=mask_seed)
    for _ in range(settings.time_masks if settings.time_mask and frames > 1 else 0):
        stretches, mask_seed = tf.unstack(tf.random.split(stretches, 2))
        windows = _mask(windows, settings.time_mask, axis=1, seed=mask_seed)
    if settings.mixup:
        windows, labels = _mixup(windows, labels, settings.mixup, mix)
    return windows, labels


def _uniform(windows: tf.Tensor, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """One random number for each window, float32 [batch]."""
    return tf.random.stateless_uniform([tf.shape(windows)[0]], seed, low, high)


def _interpolation(positions: tf.Tensor, size: int) -> tf.Tensor:
    """Linear interpolation at `positions` [..., out] of an axis of `size`, as matrices.

    Returns:
      float32 [..., out, size]. Rows sum to one; a position outside the axis reads its edge.
    """
    positions = tf.clip_by_value(positions, 0.0, float(size - 1))
    return tf.nn.relu(1.0 - tf.abs(positions[..., None] - tf.range(size, dtype=tf.float32)))


def _stretch_time(windows: tf.Tensor, frames: int, most: float, seed: tf.Tensor) -> tf.Tensor:
    """Stretches each window in time by a factor of its own: float32 [batch, frames, bins]."""
    size = windows.shape[1]
    tempo = _uniform(windows, seed, 1.0 - most, 1.0 + most)
    positions = tempo[:, None] * tf.range(frames, dtype=tf.float32)
    return tf.matmul(_interpolation(positions, size), windows)


def _shift_pitch(
    windows: tf.Tensor, semitones: float, highest_hz: float, seed: tf.Tensor
) -> tf.Tensor:
    """Shifts each window in pitch, by moving its mel bands.

    Band k of the shifted window is read at the original position of its centre frequency divided
    by 2^(semitones / 12), on the Slaney scale (`Feature.highest_mel_hz`).
    """
    bins = windows.shape[2]
    bands_hz = librosa.mel_frequencies(bins + 2, fmin=0.0, fmax=highest_hz)
    centres_hz = bands_hz[1:-1].astype(np.float32)
    ratio = 2.0 ** (_uniform(windows, seed, -semitones, semitones) / 12.0)
    bands_a_mel = (bins + 1) / librosa.hz_to_mel(highest_hz)
    positions = _slaney_mel(centres_hz / ratio[:, None]) * bands_a_mel - 1.0
    return tf.matmul(windows, _interpolation(positions, bins), transpose_b=True)


def _slaney_mel(hertz: tf.Tensor) -> tf.Tensor:
    """`librosa.hz_to_mel` as TensorFlow: 3 mels in 200 Hz to 1 kHz, then 27 in a factor of 6.4."""
    logarithmic = 15.0 + tf.math.log(tf.maximum(hertz, 1000.0) / 1000.0) * (27.0 / np.log(6.4))
    return tf.where(hertz < 1000.0, hertz * (3.0 / 200.0), logarithmic)


def _equalise(windows: tf.Tensor, most: float, seed: tf.Tensor) -> tf.Tensor:
    """Adds a random curve over frequency to each window, as another microphone or mastering would.

    This is the linear kind of FilterAugment (Nam et al., arXiv 2110.03282): random levels joined by
    straight lines. The levels are evenly spaced, where the paper draws their places as well.
    """
    bins = windows.shape[2]
    levels = tf.random.stateless_uniform([tf.shape(windows)[0], _LEVELS], seed, -most, most)
    positions = tf.linspace(0.0, float(_LEVELS - 1), bins)
    curves = tf.matmul(levels, _interpolation(positions, _LEVELS), transpose_b=True)
    return windows + curves[:, None]


def _mask(windows: tf.Tensor, widest: float, *, axis: int, seed: tf.Tensor) -> tf.Tensor:
    """Replaces a random band of an axis by the window's mean (SpecAugment, arXiv 1904.08779)."""
    size = windows.shape[axis]
    width_seed, start_seed = tf.unstack(tf.random.split(seed, 2))
    width = _uniform(windows, width_seed, 0.0, widest * size)
    start = _uniform(windows, start_seed, 0.0, 1.0) * (size - width)
    positions = tf.range(size, dtype=tf.float32)
    masked = (positions >= start[:, None]) & (positions < (start + width)[:, None])
    masked = masked[:, :, None] if axis == 1 else masked[:, None, :]
    return tf.where(masked, tf.reduce_mean(windows, axis=[1, 2], keepdims=True), windows)


def _mixup(
    windows: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each window with its neighbour in the batch (arXiv 1710.09412).

    The share follows Beta(alpha, alpha), computed from two gamma variables.
    """
    first, second = tf.unstack(tf.random.split(seed, 2))
    shape = [tf.shape(windows)[0]]
    drawn = tf.random.stateless_gamma(shape, first, alpha)
    rest = tf.random.stateless_gamma(shape, second, alpha)
    share = drawn / tf.maximum(drawn + rest, 1e-12)
    share = tf.maximum(share, 1.0 - share)  # the window itself weighs at least half
    mixed = windows + (1.0 - share)[:, None, None] * (tf.roll(windows, 1, axis=0) - windows)
    mixed_labels = labels + (1.0 - share)[:, None] * (tf.roll(labels, 1, axis=0) - labels)
    return mixed, mixed_labels
