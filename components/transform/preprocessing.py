"""Transform: computes and standardises the features of a track's clips, in the graph.

TFX's Transform calls `preprocessing_fn` by its dotted path. Mean and standard deviation are those
of the training split. Every transformed example contains them as `<feature>_mean` and
`<feature>_std`, so that the served graph applies the same numbers.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.audio import extraction
from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.common.labels import genre_index

LABEL = "label"
TRACK_ID = "track_id"


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Turns a batch of raw examples into transformed ones.

    Args:
      inputs: Features of raw examples (`schemas/gtzan.pbtxt`), each of shape [batch, 1].
      custom_config: `audio` (fields of `AudioSettings`), `features` (names to compute) and
        `genres` (names in label order).

    Returns:
      `label` int64 [batch], `track_id` string [batch], and for each feature its matrix
      float32 [batch, clips_per_track * frames_per_clip, bins], zero in the frames that fill a clip
      up, and `<name>_frames` int64 [batch, clips_per_track], how many of each clip's frames are of
      sound; for a standardised one also `<name>_mean` and `<name>_std`, float32 [batch, bins], the
      same in every row. Only frames of sound count in these statistics.
    """
    settings = AudioSettings(**custom_config["audio"])
    matrices, frames = extraction.extract_pcm16(
        custom_config["features"], inputs["audio"][:, 0], settings
    )
    outputs = {
        LABEL: genre_index(inputs["genre"][:, 0], custom_config["genres"]),
        TRACK_ID: inputs["track_id"][:, 0],
    }
    for name, matrix in matrices.items():
        outputs |= _scaled(matrix, frames[name], feature(name, settings))
    return outputs


def _scaled(matrix: tf.Tensor, frames: tf.Tensor, feature: Feature) -> dict[str, tf.Tensor]:
    matrix = tf.ensure_shape(matrix, [None, *feature.track_shape])
    frames = tf.ensure_shape(frames, [None, feature.clips_per_track])
    outputs = {feature.name: matrix, f"{feature.name}_frames": frames}
    if not feature.standardised:
        return outputs
    of_sound = extraction.is_sound(frames, feature.frames_per_clip)
    rows = tf.boolean_mask(matrix, of_sound)
    mean = tft.mean(rows, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(rows, reduce_instance_dims=False))
    standardised = extraction.standardise(matrix, mean, deviation)
    batch = tf.shape(matrix)[0]
    return outputs | {
        feature.name: tf.where(of_sound[:, :, tf.newaxis], standardised, 0.0),
        f"{feature.name}_mean": _repeat(mean, batch, feature.bins),
        f"{feature.name}_std": _repeat(deviation, batch, feature.bins),
    }


def _repeat(vector: tf.Tensor, batch: tf.Tensor, bins: int) -> tf.Tensor:
    repeated = tf.tile(tf.reshape(vector, [1, bins]), [batch, 1])
    return tf.ensure_shape(tf.cast(repeated, tf.float32), [None, bins])
