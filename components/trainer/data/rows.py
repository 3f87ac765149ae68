"""Rows of float32 values: in memory or, beyond a limit, in files of a scratch folder."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

_PART_BYTES = 64_000_000
_ROWS_AT_ONCE = 4096  # that statistics are computed from


@dataclasses.dataclass(frozen=True)
class Rows:
    """A two-dimensional array of which only some rows are needed at a time.

    Attributes:
      parts: Consecutive rows, each part float32 [rows, units]: arrays, or the files of arrays.
      starts: Number of the first row of each part and, last, the number of rows; int64.
      units: Length of a row.
    """

    parts: tuple[np.ndarray | Path, ...]
    starts: np.ndarray
    units: int

    @classmethod
    def of(cls, array: np.ndarray) -> "Rows":
        """Rows in memory: those of `array`, [rows, units]."""
        array = np.asarray(array, np.float32)
        return cls((array,), np.array([0, len(array)]), array.shape[1])

    @classmethod
    def written(cls, blocks: Iterable[np.ndarray], folder: Path) -> "Rows":
        """Rows in files of `folder`, of about 64 MB each.

        Args:
          blocks: Consecutive rows, each block float32 [rows, units], of at least one row in all.
          folder: It exists, and outlives the rows.
        """
        parts: list[np.ndarray | Path] = []
        starts, units = [0], 0
        for part in _joined(blocks):
            path = folder / f"{len(parts):05d}.float32"
            part.tofile(path)
            parts.append(path)
            starts.append(starts[-1] + len(part))
            units = part.shape[1]
        return cls(tuple(parts), np.array(starts), units)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The rows of these numbers, in this order: float32 [indices, units]."""
        if len(self.parts) == 1 and isinstance(self.parts[0], np.ndarray):
            return self.parts[0][indices]
        taken = np.empty((len(indices), self.units), np.float32)
        part_of = np.searchsorted(self.starts, indices, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            taken[here] = self._read(part)[indices[here] - self.starts[part]]
        return taken

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each unit, float32 [units], computed in float64."""
        mean, squares = np.zeros((2, self.units))
        for block in self.blocks(_ROWS_AT_ONCE):
            mean += block.sum(axis=0, dtype=np.float64) / len(self)
        for block in self.blocks(_ROWS_AT_ONCE):
            squares += np.square(block - mean).sum(axis=0)
        return mean.astype(np.float32), (squares / len(self)).astype(np.float32)

    def _read(self, part: int) -> np.ndarray:
        values = self.parts[part]
        if isinstance(values, np.ndarray):
            return values
        # The mapping ends with the last reference to it, so that its pages are not held.
        return np.memmap(values, np.float32, mode="r").reshape(-1, self.units)


def _joined(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Joins blocks to parts of at least `_PART_BYTES`, except the last."""
    together: list[np.ndarray] = []
    for block in blocks:
        together.append(np.asarray(block, np.float32))
        if sum(one.nbytes for one in together) >= _PART_BYTES:
            yield np.concatenate(together)
            together = []
    if together:
        yield np.concatenate(together)


def batches(
    rows: Rows,
    labels: np.ndarray,
    *,
    genre_weights: np.ndarray,
    batch_size: int,
    seed: int,
) -> tf.data.Dataset:
    """Makes endless shuffled batches of examples that are not augmented.

    All rows are shuffled by their numbers, so that the batches are the same wherever the rows are.

    Args:
      rows: The examples.
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


def in_order(rows: Rows, batch_size: int) -> tf.data.Dataset:
    """All rows in order: elements float32 [rows, units] of up to `batch_size` rows."""
    return (
        tf.data.Dataset.range(len(rows))
        .batch(batch_size)
        .map(lambda indices: _taken(rows, indices, None))
        .prefetch(tf.data.AUTOTUNE)
    )


def _taken(rows: Rows, indices: tf.Tensor, count: int | None) -> tf.Tensor:
    values = tf.numpy_function(rows.take, [indices], tf.float32)
    return tf.ensure_shape(values, [count, rows.units])
