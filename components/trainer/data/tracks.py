"""The tracks of a split, and how they are read from Transform's examples."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from sklearn.utils.class_weight import compute_class_weight
from tfx.dsl.io import fileio

from components.audio.features import Feature
from components.common import copies

_SHARDS_AT_ONCE = 4
_RECORDS_AT_ONCE = 16  # of which labels are read

# The names that Transform gives them; nodes do not import each other.
LABEL = "label"
TRACK_ID = "track_id"


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The tracks of one split.

    A track's matrix has room for `clips_per_track` whole clips. Padding follows the frames of sound
    of a clip that is shorter or missing.

    Attributes:
      dataset: Elements (float32 [clips * frames_per_clip, bins], int64 [clips] frames of sound in
        each clip, int64 [] label); finite, in the same order each time.
      labels: The label of each track, int64 [count], in the order of the dataset.
      frames: Frames of sound in each clip, int64 [count, clips].
      track_ids: Ids of the tracks and of their copies (`components.common.copies`), each once.
      feature: What the tracks hold.
      body_outputs: Precomputed outputs of a frozen body, float32 [count * windows_per_track,
        units]; a head is then trained on them. None if not precomputed.
    """

    dataset: tf.data.Dataset
    labels: np.ndarray
    frames: np.ndarray
    track_ids: tuple[str, ...]
    feature: Feature
    body_outputs: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls,
        feature: Feature,
        matrices: np.ndarray,
        labels: np.ndarray,
        *,
        frames: np.ndarray | None = None,
        track_ids: Sequence[str] = (),
    ) -> "Tracks":
        """Makes a split of tracks that are in memory.

        Args:
          feature: What the tracks hold.
          matrices: [tracks, clips * frames_per_clip, bins].
          labels: [tracks].
          frames: Frames of sound in each clip, [tracks, clips]; one whole clip a track by default.
          track_ids: Ids of the tracks, a copy's being its track's; their numbers by default.
        """
        if frames is None:
            frames = np.full((len(labels), 1), matrices.shape[1])
        labels, frames = np.asarray(labels, np.int64), np.asarray(frames, np.int64)
        dataset = tf.data.Dataset.from_tensor_slices(
            (np.asarray(matrices, np.float32), frames, labels)
        )
        ids = copies.distinct_ids(track_ids or map(str, range(len(labels))))
        return cls(dataset, labels, frames, ids, feature)

    @property
    def count(self) -> int:
        """Number of tracks, copies included."""
        return len(self.labels)

    @property
    def originals(self) -> int:
        """Number of different tracks: without the copies of `TrainingCopies`."""
        return copies.originals(self.track_ids)

    @property
    def counting_windows(self) -> np.ndarray:
        """Which windows lie within sound and so count: bool [count, windows_per_track]."""
        windows = self.frames[..., np.newaxis] // self.feature.window_frames
        counts = np.arange(self.feature.windows_per_clip) < windows
        return counts.reshape(self.count, self.feature.windows_per_track)

    def fits(self, megabytes: int) -> bool:
        """Whether all tracks together take up to `megabytes` of memory."""
        return 4 * math.prod(self.feature.track_shape) * self.count <= megabytes * 1e6

    def cached(self, megabytes: int) -> "Tracks":
        """The same tracks, cached in memory during the first pass if they fit in `megabytes`.

        Raises:
          ValueError: There is no track, or one is shorter than a window.
        """
        if not self.count:
            raise ValueError("training and validation need at least one track each. Received: 0")
        if not self.counting_windows.any(axis=1).all():
            raise ValueError(f"a track is shorter than one window of {self.feature.name}")
        if not self.fits(megabytes):
            return self
        return dataclasses.replace(self, dataset=self.dataset.cache())

    def genre_weights(self, genre_count: int) -> np.ndarray:
        """Weight of an example of each genre, inversely proportional to the genre's size.

        Returns:
          float32 [genre_count], with mean one over the examples; 0 for a genre without examples.
        """
        present = np.unique(self.labels)
        weights = np.zeros(genre_count, np.float32)
        weights[present] = compute_class_weight("balanced", classes=present, y=self.labels)
        return weights


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
        track_ids=copies.distinct_ids(track_id.decode() for track_id in columns[TRACK_ID]),
        feature=feature,
    )
