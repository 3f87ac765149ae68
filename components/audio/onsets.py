"""Onset strength of each frame: the input of the tempo estimate, and a descriptor."""

import tensorflow as tf


def onset_strength(level_db: tf.Tensor) -> tf.Tensor:
    """Mean rise of the mel bands since the previous frame; falls count as zero.

    Equals `librosa.onset.onset_strength(S=level_db.T, center=False)`.
    Source: Böck and Widmer, Maximum filter vibrato suppression for onset detection, DAFx 2013.

    Args:
      level_db: float32 [frames, mel_bins] from `components.audio.spectral.log_mel`.

    Returns:
      float32 [frames, 1], decibels; 0 in the first frame.
    """
    return tf.pad(tf.reduce_mean(_rise(level_db), axis=1, keepdims=True), [[1, 0], [0, 0]])


def median_onset_strength(level_db: tf.Tensor) -> tf.Tensor:
    """Median rise of the mel bands since the previous frame: the input of the tempo estimate.

    An onset of a whole band moves it, a vibrato in a few mel bands does not. Equals
    `librosa.onset.onset_strength(S=level_db.T, center=False, aggregate=np.median)`.

    Args:
      level_db: float32 [frames, mel_bins] from `components.audio.spectral.log_mel`.

    Returns:
      float32 [frames, 1], decibels; 0 in the first frame.
    """
    bands = level_db.shape[1]
    upper_half = tf.math.top_k(_rise(level_db), bands // 2 + 1).values
    middle = upper_half[:, -2:] if bands % 2 == 0 else upper_half[:, -1:]
    return tf.pad(tf.reduce_mean(middle, axis=1, keepdims=True), [[1, 0], [0, 0]])


def _rise(level_db: tf.Tensor) -> tf.Tensor:
    """How much each band rose since the frame before, falls as 0: [frames - 1, mel_bins]."""
    return tf.nn.relu(level_db[1:] - level_db[:-1])
