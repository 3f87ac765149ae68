"""A network's outputs for all windows of a split; those of frozen bodies are computed once.

They are kept in files that are mapped into memory, as long as heads are trained on them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.trainer.data import windows
from components.trainer.data.tracks import Tracks
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.settings import TrainingSettings
from components.trainer.training import devices

_BATCHES_AT_ONCE = 8  # whose windows and outputs are in memory while outputs are computed
_TRACKS_AT_ONCE = 256  # whose windows are averaged at once
_ROWS_AT_ONCE = 4096  # that statistics are computed from


def window_outputs(model: keras.Model, tracks: Tracks) -> np.ndarray:
    """A network's outputs for every window: [tracks, windows_per_track, …].

    `Tracks.counting_windows` tells which windows count.
    """
    outputs = model.predict(windows.evaluation_windows(tracks), verbose=0)
    return windows.by_track(outputs, tracks)


def with_body_outputs(
    model_name: str,
    splits: Sequence[Tracks],
    *,
    settings: TrainingSettings,
    genres: Sequence[str],
    folder: Path,
) -> tuple[Tracks, ...]:
    """Precomputes frozen-body outputs so that many head trainings can share them.

    Args:
      model_name: Its name in the catalog.
      splits: The splits that the heads are trained and evaluated on.
      settings: Settings that the trainings share: the body, precision and devices.
      genres: Names in label order.
      folder: For a file of outputs for each split. It has to exist as long as they are used.

    Returns:
      The splits with their `body_outputs`; unchanged if no body stays frozen.
    """
    if not settings.model.frozen:
        return tuple(splits)
    strategy = devices.strategy(settings.distribution)
    with devices.precision(devices.precision_policy(settings)), strategy.scope():
        model = build(
            model_name,
            feature=splits[0].feature,
            genre_count=len(genres),
            settings=settings.model,
        )
        body = heads.body_of(model)
        if body is None:
            return tuple(splits)
        return tuple(
            dataclasses.replace(
                tracks, body_outputs=body_outputs(body, tracks, folder / f"{number}.npy")
            )
            for number, tracks in enumerate(splits)
        )


def body_outputs(body: keras.Model, tracks: Tracks, file: Path) -> np.ndarray:
    """The outputs of a frozen body for every window, in the order of the tracks.

    Args:
      body: The body; its output is a vector.
      tracks: The split; its `body_outputs` are returned if it has them.
      file: Where they are kept; it has to outlive them.

    Returns:
      float32 [tracks * windows_per_track, units].
    """
    if tracks.body_outputs is not None:
        return tracks.body_outputs
    count = tracks.count * tracks.feature.windows_per_track
    outputs = _rows_in_file(file, count, body.output_shape[-1])
    start = 0
    for some_batches in windows.evaluation_windows(tracks).window(_BATCHES_AT_ONCE):
        block = body.predict(some_batches, verbose=0)[: count - start]  # without the padding
        outputs[start : start + len(block)] = block
        start += len(block)
    return outputs


def track_means(outputs: np.ndarray, tracks: Tracks, file: Path) -> np.ndarray:
    """The mean of the outputs over each track's windows that count: float32 [tracks, units].

    Args:
      outputs: From `body_outputs`.
      tracks: The split.
      file: Where they are kept; it has to outlive them.
    """
    by_track = outputs.reshape(tracks.count, tracks.feature.windows_per_track, -1)
    counts = tracks.counting_windows[..., np.newaxis]
    means = _rows_in_file(file, tracks.count, by_track.shape[-1])
    for start in range(0, tracks.count, _TRACKS_AT_ONCE):
        block = slice(start, start + _TRACKS_AT_ONCE)
        means[block] = by_track[block].mean(axis=1, where=counts[block])
    return means


def _rows_in_file(file: Path, count: int, units: int) -> np.ndarray:
    """A float32 array [count, units] that is mapped into memory."""
    return np.lib.format.open_memmap(file, "w+", np.float32, (count, units))


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each unit, float32 [units], computed in float64."""
    mean, squares = np.zeros((2, rows.shape[1]))
    blocks = range(0, len(rows), _ROWS_AT_ONCE)
    for start in blocks:
        block = rows[start : start + _ROWS_AT_ONCE]
        mean += block.sum(axis=0, dtype=np.float64) / len(rows)
    for start in blocks:
        squares += np.square(rows[start : start + _ROWS_AT_ONCE] - mean).sum(axis=0)
    return mean.astype(np.float32), (squares / len(rows)).astype(np.float32)


def shuffled_batches(
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    genre_weights: np.ndarray,
    batch_size: int,
    seed: int,
) -> tf.data.Dataset:
    """Makes endless shuffled batches of examples that are not augmented.

    Rows are shuffled by their numbers, so that the batches are the same wherever the rows are kept.

    Args:
      rows: The examples, float32 [examples, units].
      labels: int64 [examples].
      genre_weights: Weight of an example of each genre, float [genres].
      batch_size: Examples in a batch.
      seed: Seeds the order.

    Returns:
      Elements (float32 [batch, units], float32 [batch, genres], float32 [batch]): values, label
      distributions and weights.
    """
    distributions = tf.constant(np.eye(len(genre_weights), dtype=np.float32)[labels])
    weights = tf.constant(genre_weights.astype(np.float32)[labels])
    return (
        tf.data.Dataset.range(len(rows))
        .shuffle(len(rows), seed=seed, reshuffle_each_iteration=True)
        .repeat()
        .batch(batch_size, drop_remainder=True)
        .map(
            lambda indices: (
                _taken(rows, indices, batch_size),
                tf.gather(distributions, indices),
                tf.gather(weights, indices),
            )
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def batches_in_order(rows: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """All rows in order: elements float32 [rows, units] of up to `batch_size` rows."""
    return (
        tf.data.Dataset.range(len(rows))
        .batch(batch_size)
        .map(lambda indices: _taken(rows, indices, None))
        .prefetch(tf.data.AUTOTUNE)
    )


def _taken(rows: np.ndarray, indices: tf.Tensor, count: int | None) -> tf.Tensor:
    values = tf.numpy_function(lambda numbers: rows[numbers], [indices], tf.float32)
    return tf.ensure_shape(values, [count, rows.shape[1]])
