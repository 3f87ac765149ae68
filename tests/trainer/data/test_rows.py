"""Rows in files are the rows in memory."""

import numpy as np
import pytest

from components.trainer.data import rows
from components.trainer.data.rows import Rows

VALUES = np.random.default_rng(0).normal(5.0, 2.0, size=(103, 7)).astype(np.float32)
LABELS = np.arange(103) % 4


@pytest.fixture
def in_files(tmp_path, monkeypatch) -> Rows:
    """The values in several files, some of several blocks, the last one shorter."""
    monkeypatch.setattr(rows, "_PART_BYTES", 20 * 7 * 4)
    stored = Rows.written(np.array_split(VALUES, 11), tmp_path)
    assert len(stored.parts) == len(list(tmp_path.iterdir())) > 4
    return stored


def test_any_rows_are_found_in_their_files(in_files):
    indices = np.random.default_rng(1).integers(0, 103, 300)
    np.testing.assert_array_equal(in_files.take(indices), VALUES[indices])
    assert len(in_files) == 103
    for block, expected in zip(in_files.blocks(40), np.split(VALUES, [40, 80]), strict=True):
        np.testing.assert_array_equal(block, expected)


def test_batches_are_the_same_from_files_and_from_memory(in_files):
    def first_epochs(stored):
        data = rows.batches(
            stored, LABELS, genre_weights=np.array([1.0, 2.0, 3.0, 4.0]), batch_size=10, seed=3
        )
        return [value for batch in data.take(25).as_numpy_iterator() for value in batch]

    from_files = first_epochs(in_files)
    for one, other in zip(from_files, first_epochs(Rows.of(VALUES)), strict=True):
        np.testing.assert_array_equal(one, other)
    first, labels, weights = from_files[:3]
    assert not np.array_equal(first, VALUES[:10])
    places = [int(np.flatnonzero((row == VALUES).all(axis=1))[0]) for row in first]
    np.testing.assert_array_equal(labels.argmax(axis=1), LABELS[places])
    np.testing.assert_array_equal(weights, LABELS[places] + 1.0)


def test_order_and_moments_are_those_of_the_array(in_files):
    for stored in (in_files, Rows.of(VALUES)):
        ordered = np.concatenate(list(rows.in_order(stored, 16).as_numpy_iterator()))
        np.testing.assert_array_equal(ordered, VALUES)
        mean, variance = stored.moments()
        np.testing.assert_allclose(mean, VALUES.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(variance, VALUES.var(axis=0), rtol=1e-5)
        assert mean.dtype == variance.dtype == np.float32
