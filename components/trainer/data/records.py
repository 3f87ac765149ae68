"""Reads transformed examples from disk as the tracks that training takes."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from components.audio.features import Feature
from components.trainer.data.windows import Tracks

_SHARDS_AT_ONCE = 4
_RECORDS_AT_ONCE = 16  # of which labels are read

# The names that Transform gives them; nodes do not import each other.
LABEL = "label"
TRACK_ID = "track_id"


def read_tracks(
    file_patterns: Sequence[str], transform_output: tft.TFTransformOutput, feature: Feature
) -> Tracks:
    """Reads one feature, the label and the id of every track of a split.

    Shards are read in parallel but in a fixed order, so that a seed determines every batch.

    Args:
      file_patterns: The split's TFRecord files, as TFX's Trainer passes them.
      transform_output: The Transform output that describes the examples.
      feature: The feature to parse; others are not decoded.

    Raises:
      ValueError: The files hold no example.
    """
    spec = transform_output.transformed_feature_spec()
    frames = f"{feature.name}_frames"
    small_spec = {name: spec[name] for name in (TRACK_ID, LABEL, frames)}
    full_spec = {name: spec[name] for name in (feature.name, frames, LABEL)}
    files = sorted(name for pattern in file_patterns for name in fileio.glob(pattern))
    records = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda name: tf.data.TFRecordDataset(name, compression_type="GZIP"),
        cycle_length=_SHARDS_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    # Several processes divide each batch between them; by default each would read some files only,
    # and the order of the tracks would be another one.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    records = records.with_options(options)

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parsed = tf.io.parse_single_example(record, full_spec)
        return tuple(parsed[name] for name in full_spec)

    small_records = records.batch(_RECORDS_AT_ONCE).map(
        lambda serialized: tf.io.parse_example(serialized, small_spec)
    )
    blocks = list(small_records.as_numpy_iterator())
    if not blocks:
        raise ValueError(f"no examples in {', '.join(file_patterns)}")
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in small_spec}
    tracks = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return Tracks(
        # Without a known length, Keras warns that the data ran out.
        tracks.apply(tf.data.experimental.assert_cardinality(len(columns[LABEL]))),
        labels=columns[LABEL],
        frames=columns[frames],
        track_ids=tuple(track_id.decode() for track_id in columns[TRACK_ID]),
    )
