"""From tracks to the windows that a model reads, with tf.data.

A split arrives as whole tracks, one element each; windows are cut here, behind the split, so that
no track is on both sides of it.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer.augmentation import augment, source_frames
from components.trainer.settings import TrainingSettings

EVALUATION_TRACKS = 8  # tracks whose windows are evaluated in one step


@dataclasses.dataclass(frozen=True)
class Tracks:
    """One split.

    Attributes:
      dataset: Elements (float32 [frames_per_clip, bins], int64 [] label), finite, always in the
        same order.
      count: Number of elements.
      body_outputs: What a frozen body makes of every window, float32 [count, windows_per_clip,
        units], where it is known already; a head is then trained on it as it is.
    """

    dataset: tf.data.Dataset
    count: int
    body_outputs: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls, matrices: np.ndarray, labels: np.ndarray, *, body_outputs: np.ndarray | None = None
    ) -> "Tracks":
        """Tracks that are in memory: [tracks, frames_per_clip, bins] and [tracks]."""
        dataset = tf.data.Dataset.from_tensor_slices(
            (np.asarray(matrices, np.float32), np.asarray(labels, np.int64))
        )
        return cls(dataset, len(labels), body_outputs)

    def labels(self) -> np.ndarray:
        """The label of each track, int64 [count], in the order of the dataset."""
        labels = self.dataset.map(lambda _, label: label).batch(max(self.count, 1))
        return next(labels.as_numpy_iterator())

    def cached(self, feature: Feature, megabytes: int) -> "Tracks":
        """The same tracks, kept in memory after the first pass if they take at most `megabytes`."""
        if self.count * _bytes_a_track(feature) > megabytes * 1e6:
            return self
        return dataclasses.replace(self, dataset=self.dataset.cache())


def _bytes_a_track(feature: Feature) -> int:
    return 4 * feature.frames_per_clip * feature.bins


def steps_per_epoch(tracks: int, settings: TrainingSettings) -> int:
    """Steps in which each track gives about `windows_per_track` windows."""
    return max(1, round(tracks * settings.windows_per_track / settings.batch_size))


def training_windows(
    tracks: Tracks,
    *,
    feature: Feature,
    genre_weights: np.ndarray,
    settings: TrainingSettings,
) -> tf.data.Dataset:
    """Endless batches of augmented windows.

    Each pass takes one window of every track, in a new order, so that the windows of a batch are
    of different tracks. What is drawn depends on the seed and on the place in the stream alone.

    Args:
      tracks: The training split.
      feature: What the tracks hold.
      genre_weights: Weight of an example of each genre, float [genres].
      settings: Batch size, seed, where windows are cut, augmentation, and the memory that
        shuffling may take.

    Returns:
      Elements (float32 [batch, window_frames, bins], float32 [batch, genres], float32 [batch]):
      windows, label distributions and weights, of static shape.
    """
    frames = source_frames(feature, settings.augmentation)
    weights = tf.constant(genre_weights, tf.float32)
    buffer = min(tracks.count, int(settings.cache_megabytes * 1e6 // _bytes_a_track(feature)))
    seed = np.int64(settings.seed)

    def cut(index: tf.Tensor, track: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        matrix, label = track
        last = feature.frames_per_clip - frames
        if settings.random_windows:
            start = tf.random.stateless_uniform([], [seed, index], 0, last + 1, tf.int64)
        else:
            number = tf.random.stateless_uniform(
                [], [seed, index], 0, feature.windows_per_clip, tf.int64
            )
            start = tf.minimum(number * feature.window_frames, last)
        window = tf.slice(matrix, tf.stack([start, 0]), [frames, feature.bins])
        return window, label

    def vary(
        index: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        windows, labels = batch
        example_weights = tf.gather(weights, labels)
        windows, distributions = augment(
            windows,
            tf.one_hot(labels, len(genre_weights)),
            seed=tf.stack([seed + 1, index]),
            feature=feature,
            settings=settings.augmentation,
        )
        return windows, distributions, example_weights

    return (
        tracks.dataset.shuffle(max(buffer, 1), seed=settings.seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(settings.batch_size, drop_remainder=True)
        .enumerate()
        .map(vary, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def batches(
    values: np.ndarray,
    labels: np.ndarray,
    *,
    genre_weights: np.ndarray,
    batch_size: int,
    seed: int,
) -> tf.data.Dataset:
    """Endless shuffled batches of examples that are in memory as they are to be learnt.

    Args:
      values: float32 [examples, …].
      labels: int64 [examples].
      genre_weights: Weight of an example of each genre, float [genres].
      batch_size: Examples in a batch.
      seed: Decides the order.

    Returns:
      Elements as `training_windows` gives them.
    """
    distributions = np.eye(len(genre_weights), dtype=np.float32)[labels]
    examples = (values, distributions, genre_weights.astype(np.float32)[labels])
    return (
        tf.data.Dataset.from_tensor_slices(examples)
        .shuffle(len(labels), seed=seed, reshuffle_each_iteration=True)
        .repeat()
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_windows(tracks: Tracks, *, feature: Feature) -> tf.data.Dataset:
    """All windows of all tracks, end to end, in order.

    Tracks of zeros fill the last batch, so that every batch has the same shape; `by_track` drops
    what a model makes of them.

    Returns:
      Elements float32 [EVALUATION_TRACKS * windows_per_clip, window_frames, bins].
    """
    used = feature.windows_per_clip * feature.window_frames

    def cut(matrices: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.reshape(matrices[:, :used], [-1, *feature.window_shape])

    missing = -tracks.count % EVALUATION_TRACKS
    zeros = (tf.zeros(feature.clip_shape), tf.zeros([], tf.int64))
    filling = tf.data.Dataset.from_tensors(zeros).repeat(missing)
    return (
        tracks.dataset.concatenate(filling)
        .batch(EVALUATION_TRACKS, drop_remainder=True)
        .map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def by_track(window_values: np.ndarray, *, feature: Feature, count: int) -> np.ndarray:
    """Groups what a model made of `evaluation_windows`.

    Args:
      window_values: [batches * EVALUATION_TRACKS * windows_per_clip, …].
      feature: What the tracks hold.
      count: Number of tracks.

    Returns:
      [count, windows_per_clip, …].
    """
    windows = feature.windows_per_clip
    return window_values.reshape(-1, windows, *window_values.shape[1:])[:count]


def genre_weights(labels: np.ndarray, genre_count: int) -> np.ndarray:
    """Weight of an example of each genre, inversely proportional to how many there are.

    Returns:
      float32 [genre_count], of mean one over the examples; ones where genres are even.
    """
    counts = np.bincount(labels, minlength=genre_count)
    present = counts > 0
    weights = np.zeros(genre_count, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights
