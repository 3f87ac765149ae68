"""Brings a sound to one loudness in a TensorFlow graph, so that its level says nothing of it."""

import numpy as np
import tensorflow as tf

from components.audio import loudness
from components.audio.settings import AudioSettings

_DECIBELS_PER_NEPER = 10.0 / float(np.log(10.0))


def levelled(waveform: tf.Tensor, settings: AudioSettings) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales a sound to `settings.loudness_lufs`.

    A sound below `loudness.SILENCE_LUFS` stays as it is: there is nothing in it but noise.

    Args:
      waveform: float32 [samples], full scale is 1.
      settings: The analysis settings.

    Returns:
      float32 [samples], whose peaks may exceed 1, and whether the sound is audible, bool [].
    """
    measured = lufs(waveform, settings)
    audible = measured >= loudness.SILENCE_LUFS
    gain_db = tf.where(audible, settings.loudness_lufs - measured, 0.0)
    return waveform * tf.exp(gain_db / (2.0 * _DECIBELS_PER_NEPER)), audible


def lufs(waveform: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """`loudness.lufs` in the graph: float32 [samples] to float32 []."""
    step = loudness.step_samples(settings)
    shortest = loudness.STEPS_PER_BLOCK * step
    waveform = tf.pad(waveform, [[0, tf.maximum(shortest - tf.size(waveform), 0)]])
    steps = tf.reshape(waveform[: tf.size(waveform) // step * step], [-1, step])
    power = tf.square(tf.abs(tf.signal.rfft(steps)))
    step_power = tf.linalg.matvec(power, loudness.step_weights(settings.sample_rate_hz))
    blocks = tf.reduce_mean(tf.signal.frame(step_power, loudness.STEPS_PER_BLOCK, 1), axis=1)
    audible = _mean_over(blocks, loudness.LOUDEST_GATE * tf.reduce_max(blocks))
    gated = _mean_over(blocks, loudness.RELATIVE_GATE * audible)
    nepers = tf.math.log(tf.maximum(gated, loudness.LEAST_POWER))
    return _DECIBELS_PER_NEPER * nepers + loudness.OFFSET_LU


def _mean_over(blocks: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    passed = tf.cast(blocks >= threshold, tf.float32)
    return tf.reduce_sum(blocks * passed) / tf.reduce_sum(passed)
