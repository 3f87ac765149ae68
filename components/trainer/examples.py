"""Transformed examples on disk as the tracks that training takes."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from components.audio.features import Feature
from components.trainer.windows import Tracks

_SHARDS_AT_ONCE = 4


def read_tracks(
    file_patterns: Sequence[str], transform_output: tft.TFTransformOutput, feature: Feature
) -> Tracks:
    """Reads one feature and the label of every track of a split.

    Shards are read in parallel and in a fixed order, so that a seed fixes every batch.

    Args:
      file_patterns: The split's TFRecord files, as TFX's Trainer names them.
      transform_output: Says how the examples are laid out.
      feature: The feature to parse; the others are skipped, not decoded.

    Raises:
      ValueError: No example is found.
    """
    spec = transform_output.transformed_feature_spec()
    wanted = {name: spec[name] for name in (feature.name, "label")}
    files = sorted(name for pattern in file_patterns for name in fileio.glob(pattern))
    records = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda name: tf.data.TFRecordDataset(name, compression_type="GZIP"),
        cycle_length=_SHARDS_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_single_example(record, wanted)
        return parsed[feature.name], parsed["label"]

    count = int(records.reduce(tf.constant(0, tf.int64), lambda total, _: total + 1))
    if count == 0:
        raise ValueError(f"no examples in {', '.join(file_patterns)}")
    tracks = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    # Keras takes a stream of unknown length for one that ended too early, and says so.
    return Tracks(tracks.apply(tf.data.experimental.assert_cardinality(count)), count)
