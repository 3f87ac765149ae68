"""Transform: features of a clip, in the graph, standardised by full-pass statistics.

`preprocessing_fn` is what TFX's Transform calls by dotted path. Statistics come from the split
that Transform analyses (training) and travel with every transformed example as
`<feature>_mean` and `<feature>_std`, so that the served graph can apply the very same numbers
to sound of any length.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.audio import extraction
from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES

LABEL = "label"
TRACK_ID = "track_id"


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Turns a batch of raw examples into transformed ones.

    Args:
      inputs: Raw features of DESIGN.md's schema, each of shape [batch, 1].
      custom_config: `audio` (fields of `AudioSettings`) and `features` (names to compute).

    Returns:
      `label` int64 [batch], `track_id` string [batch], and for each feature its matrix
      float32 [batch, frames, bins]; for a standardised one also `<name>_mean` and `<name>_std`,
      float32 [batch, bins], the same in every row.
    """
    settings = AudioSettings(**custom_config["audio"])
    matrices = extraction.extract_pcm16(custom_config["features"], inputs["audio"][:, 0], settings)
    outputs = {
        LABEL: genre_index(inputs["genre"][:, 0]),
        TRACK_ID: inputs["track_id"][:, 0],
    }
    for name, matrix in matrices.items():
        outputs |= _scaled(matrix, feature(name, settings))
    return outputs


def genre_index(genre: tf.Tensor) -> tf.Tensor:
    """Position of each name of `genre` (string [batch]) in GENRES, as int64 [batch].

    Comparison instead of a lookup table: tables hold state that TF Serving's loader must
    initialise. ExampleValidator has made sure that the name is one of the ten.
    """
    return tf.argmax(tf.equal(genre[:, tf.newaxis], tf.constant(GENRES)), axis=1)


def _scaled(matrix: tf.Tensor, described: Feature) -> dict[str, tf.Tensor]:
    matrix = tf.ensure_shape(matrix, [None, *described.clip_shape])
    if not described.standardised:
        return {described.name: matrix}
    rows = tf.reshape(matrix, [-1, described.bins])
    mean = tft.mean(rows, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(rows, reduce_instance_dims=False))
    batch = tf.shape(matrix)[0]
    return {
        described.name: extraction.standardise(matrix, mean, deviation),
        f"{described.name}_mean": _repeat(mean, batch, described.bins),
        f"{described.name}_std": _repeat(deviation, batch, described.bins),
    }


def _repeat(vector: tf.Tensor, batch: tf.Tensor, bins: int) -> tf.Tensor:
    repeated = tf.tile(tf.reshape(vector, [1, bins]), [batch, 1])
    return tf.ensure_shape(tf.cast(repeated, tf.float32), [None, bins])
