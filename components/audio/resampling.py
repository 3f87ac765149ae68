"""Resamples sound in a TensorFlow graph, as soxr (HQ) does, by core operations.

tensorflow-io's `resample` is a kernel of its own, which TF Serving lacks. Here a band-limited
interpolation (Smith, "Digital Audio Resampling", CCRMA) is a few matrix products: the rates'
ratio repeats its weights from frame to frame, where a frame is the shortest stretch that has a
whole number of samples at both rates.
"""

import math

import numpy as np
import tensorflow as tf

# soxr's filters, found by what it makes of a single sample: a sinc with its cut-off at this share
# of half the lower rate, and so many zeros on either side, under a Kaiser window of this beta. They
# depend on how often it halves the rate, and on whether that is all.
_CUT_OFF = 0.95687183
_OCTAVES = ((93.0556, 13.04004), (97.84147, 13.71157), (100.71053, 14.10412))
_OTHERS = ((105.5, 16.0), (110.65, 16.92), (113.89, 17.5))

_TABLE_POINTS = 4096  # of half a window; between two, a line is exact within 2e-7
_FEWEST_SAMPLES = 64  # in a frame: with shorter ones most of the time goes into copying


def resampled(waveform: tf.Tensor, source_hz: tf.Tensor | int, target_hz: int) -> tf.Tensor:
    """Resamples a sound, which is taken to be silent before its start and after its end.

    Args:
      waveform: float32 [samples], full scale is 1.
      source_hz: Its rate, which `settings.is_usual` (frames of others are too long); an int or
        int32 [].
      target_hz: Rate of the result, which is so too.

    Returns:
      float32 [round(samples * target_hz / source_hz)]; peaks may exceed 1 a little.
    """
    if isinstance(source_hz, int):
        with tf.init_scope():  # once, when the graph is built
            table = _weights(tf.constant(source_hz), target_hz).numpy()
        weights = tf.constant(table)
    else:
        weights = _weights(source_hz, target_hz)
    around, (read, written) = tf.shape(weights)[0] // 2, tf.unstack(tf.shape(weights)[1:])
    samples = tf.size(waveform)
    frames = -(-samples // read)
    padded = tf.pad(waveform, [[around * read, (frames + around) * read - samples]])
    rows = tf.reshape(padded, [-1, read])

    def add(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index + 1, total + tf.matmul(rows[index : index + frames], weights[index])

    # One frame of the surroundings at a time: all of them at once would take many times the sound.
    _, result = tf.while_loop(
        lambda index, total: index < 2 * around + 1,
        add,
        (0, tf.zeros([frames, written])),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        parallel_iterations=1,
    )
    ratio = target_hz / tf.cast(source_hz, tf.float64)
    count = tf.cast(tf.round(tf.cast(samples, tf.float64) * ratio), tf.int32)
    return tf.reshape(result, [-1])[:count]


def _weights(source_hz: tf.Tensor, target_hz: int) -> tf.Tensor:
    """Weights from the samples of a frame and of as many frames around it as the filter reaches.

    Returns:
      float32 [frames, samples read of each, samples written].
    """
    divisors = np.array([n for n in range(1, target_hz + 1) if target_hz % n == 0], np.int32)
    common = tf.reduce_max(tf.where(source_hz % divisors == 0, divisors, 1))
    together = tf.maximum(_FEWEST_SAMPLES // (source_hz // common), 1)
    read, written = source_hz // common * together, target_hz // common * together
    octave = tf.reduce_any(2 * source_hz == target_hz * np.array([1, 4, 8, 16]))
    halved = tf.reduce_sum(tf.cast(source_hz >= target_hz * np.array([4, 8]), tf.int32))
    kind = halved + tf.where(octave, 0, len(_OCTAVES))
    zeros = tf.constant([zeros for zeros, _ in (*_OCTAVES, *_OTHERS)])[kind]
    rate = tf.cast(source_hz, tf.float32)
    cut_off_hz = _CUT_OFF / 2.0 * tf.minimum(rate, float(target_hz))
    reach = zeros / (2.0 * cut_off_hz) * rate / tf.cast(read, tf.float32)
    around = tf.cast(tf.math.ceil(reach), tf.int32)

    # Seconds from each sample that is read to each that is written, exact but for one rounding.
    read_at = tf.range(-around * read, (around + 1) * read) * target_hz
    written_at = tf.range(written) * source_hz
    distance = tf.cast(written_at - read_at[:, tf.newaxis], tf.float32) / (rate * float(target_hz))
    crossings = 2.0 * cut_off_hz * distance
    angle = math.pi * crossings
    sinc = tf.where(angle == 0.0, 1.0, tf.sin(angle) / tf.where(angle == 0.0, 1.0, angle))
    weights = 2.0 * cut_off_hz / rate * sinc * _kaiser(crossings / zeros, kind)
    return tf.reshape(weights, [2 * around + 1, read, written])


def _kaiser(position: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """The window of a filter at positions from its middle (0) to its end (1) and beyond.

    It is read from a table, so that the graph needs no Bessel functions.
    """
    windows = [np.kaiser(2 * _TABLE_POINTS + 1, beta) for _, beta in (*_OCTAVES, *_OTHERS)]
    halves = np.stack(windows)[:, _TABLE_POINTS:].astype(np.float32)
    table = tf.concat([tf.constant(halves)[kind], [0.0, 0.0]], 0)
    point = _TABLE_POINTS * tf.minimum(tf.abs(position), 1.0 + 1.0 / _TABLE_POINTS)
    left = tf.cast(point, tf.int32)
    share = point - tf.cast(left, tf.float32)
    return (1.0 - share) * tf.gather(table, left) + share * tf.gather(table, left + 1)
