"""Cuts tracks into the windows that a model reads, with tf.data.

A split arrives as whole tracks, one element each. Windows are cut here, after the split, so that no
track is in two splits.
"""

import math

import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer.data.augmentation import augment
from components.trainer.data.tracks import Tracks
from components.trainer.settings import AugmentationSettings, TrainingSettings

EVALUATION_CLIPS = 8  # clips whose windows are evaluated in one step

# Several windows are cut from a track that is read only if this many batches fit between them.
_BATCHES_APART = 16

# Tracks of fewer bytes together are cut in one operation: for those of descriptors, each of a few
# kilobytes, an operation a track takes longer than the training step.
_CUT_TOGETHER_BYTES = 1 << 16


def steps_per_epoch(tracks: int, settings: TrainingSettings) -> int:
    """Number of steps in which each track contributes about `windows_per_track` windows."""
    return max(1, round(tracks * settings.windows_per_track / settings.batch_size))


def training_windows(
    tracks: Tracks, *, genre_weights: np.ndarray, settings: TrainingSettings
) -> tf.data.Dataset:
    """Makes endless batches of augmented windows.

    A window lies within the sound of one clip. All random choices depend only on the seed and on
    the position in the stream.

    If the tracks fit in `settings.cache_megabytes`, each pass takes one window of every track, in a
    new order. If not, each track that is read gives several windows, and windows are shuffled in a
    buffer of that size. Either way the windows of a batch come from different tracks; in the second
    case nearly always.

    Args:
      tracks: The training split.
      genre_weights: Weight of an example of each genre, float [genres].
      settings: Batch size, windows a track, seed, where windows are cut, augmentation, and the
        memory for tracks or windows.

    Returns:
      Elements (float32 [batch, window_frames, bins], float32 [batch, genres], float32 [batch]) of
      static shape: windows, label distributions and weights.
    """
    feature = tracks.feature
    if tracks.fits(settings.cache_megabytes):
        data = tracks.dataset.shuffle(
            tracks.count, seed=settings.seed, reshuffle_each_iteration=True
        ).repeat()
        cut = _cut_windows(data, 1, feature=feature, settings=settings)
    else:
        each, buffer = _windows_a_read(tracks, settings)
        cut = _cut_windows(tracks.dataset.repeat(), each, feature=feature, settings=settings)
        cut = cut.shuffle(buffer, seed=settings.seed)
    weights = tf.constant(genre_weights, tf.float32)
    seed = np.int64(settings.seed)

    def augment_batch(
        index: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        windows, labels = batch
        windows, distributions = augment(
            windows,
            tf.one_hot(labels, len(genre_weights)),
            seed=tf.stack([seed + 1, index]),
            feature=feature,
            settings=settings.augmentation,
        )
        return windows, distributions, tf.gather(weights, labels)

    return (
        cut.batch(settings.batch_size, drop_remainder=True)
        .enumerate()
        .map(augment_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def source_frames(feature: Feature, settings: AugmentationSettings) -> int:
    """Frames to cut from a clip so that one window is left after stretching in time."""
    if feature.window_frames == 1:
        return 1
    frames = math.ceil(feature.window_frames * (1.0 + settings.time_stretch))
    return min(frames, feature.frames_per_clip)


def _windows_a_read(tracks: Tracks, settings: TrainingSettings) -> tuple[int, int]:
    """How many windows are cut from a track that is read, and how many are shuffled together."""
    frames = source_frames(tracks.feature, settings.augmentation)
    window_bytes = 4 * tracks.feature.bins * frames
    fitting = int(settings.cache_megabytes * 1e6) // window_bytes
    buffer = max(1, min(fitting, tracks.count * settings.windows_per_track))
    apart = buffer // (_BATCHES_APART * settings.batch_size)
    return max(1, min(settings.windows_per_track, apart)), buffer


def _cut_windows(
    dataset: tf.data.Dataset, each: int, *, feature: Feature, settings: TrainingSettings
) -> tf.data.Dataset:
    """Cuts `each` windows at random from every track: elements (window, label)."""
    frames = source_frames(feature, settings.augmentation)
    seed = np.int64(settings.seed)
    tracks_at_once = max(1, _CUT_TOGETHER_BYTES // (4 * math.prod(feature.track_shape)))

    def cut(
        index: tf.Tensor, tracks: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if tracks_at_once == 1:
            tracks = tuple(tf.expand_dims(part, 0) for part in tracks)  # copies nothing
        matrices, of_sound, labels = tracks
        last = of_sound - tf.minimum(of_sound, frames)  # the latest start of a window
        start_counts = of_sound // feature.window_frames
        if settings.random_windows:
            start_counts = tf.where(start_counts > 0, last + 1, 0)
        after = tf.cumsum(start_counts, axis=1)
        drawn = _below(after[:, -1:], each, seed=tf.stack([seed, index]))
        clip = tf.searchsorted(after, drawn, side="right")
        start = drawn - tf.gather(after - start_counts, clip, batch_dims=1)
        if not settings.random_windows:
            start *= feature.window_frames
            start = tf.minimum(start, tf.gather(last, clip, batch_dims=1))
        # A clip too short to be stretched at every tempo is extended by its last frame.
        rows = start[..., tf.newaxis] + tf.range(frames, dtype=tf.int64)
        end = tf.gather(of_sound, clip, batch_dims=1)[..., tf.newaxis]
        first = tf.cast(clip, tf.int64)[..., tf.newaxis] * feature.frames_per_clip
        windows = tf.gather(matrices, first + tf.minimum(rows, end - 1), batch_dims=1)
        windows = tf.reshape(windows, [tracks_at_once * each, frames, feature.bins])
        return windows, tf.repeat(labels, each)

    if tracks_at_once > 1:
        dataset = dataset.batch(tracks_at_once, drop_remainder=True)
    return dataset.enumerate().map(cut, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


def _below(limits: tf.Tensor, each: int, *, seed: tf.Tensor) -> tf.Tensor:
    """Random numbers from 0 to below each of `limits`: int64 [count, each] for int64 [count, 1]."""
    shape = [tf.shape(limits)[0], each]
    drawn = tf.random.stateless_uniform(shape, seed, None, None, tf.uint64)
    return tf.cast(drawn % tf.cast(limits, tf.uint64), tf.int64)


def evaluation_windows(tracks: Tracks) -> tf.data.Dataset:
    """Cuts all windows of the tracks' matrices, end to end and in order.

    The last batch is padded with tracks of zeros, so that all batches have the same shape;
    `by_track` drops the outputs for them. `Tracks.counting_windows` tells which others count.

    Returns:
      Elements float32 [tracks * windows_per_track, window_frames, bins], each of as many tracks.
    """
    feature = tracks.feature
    used = feature.windows_per_clip * feature.window_frames
    tracks_at_once = max(1, EVALUATION_CLIPS // feature.clips_per_track)

    def cut(matrices: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        clips = tf.reshape(matrices, [-1, *feature.clip_shape])
        return tf.reshape(clips[:, :used], [-1, *feature.window_shape])

    missing = -tracks.count % tracks_at_once
    zeros = (
        tf.zeros(feature.track_shape),
        tf.zeros([feature.clips_per_track], tf.int64),
        tf.zeros([], tf.int64),
    )
    padding = tf.data.Dataset.from_tensors(zeros).repeat(missing)
    return (
        tracks.dataset.concatenate(padding)
        .batch(tracks_at_once, drop_remainder=True)
        .map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def by_track(window_values: np.ndarray, tracks: Tracks) -> np.ndarray:
    """Groups a model's outputs for `evaluation_windows` by track, without the padding.

    Args:
      window_values: [tracks * windows_per_track, …], the padding of the last batch included.
      tracks: The tracks.

    Returns:
      [count, windows_per_track, …].
    """
    windows = tracks.feature.windows_per_track
    return window_values.reshape(-1, windows, *window_values.shape[1:])[: tracks.count]
