"""Outputs of frozen bodies over the memory limit: the same training from files, which go away."""

import tempfile

import keras
import numpy as np
import pytest

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.trainer.settings import ModelSettings
from components.trainer.training import body_outputs
from tests.trainer.conftest import coloured, save_body, trained

MUSIC_MEL = feature("music_mel", AudioSettings(clip_seconds=6))
SPLITS = coloured(MUSIC_MEL, 20), coloured(MUSIC_MEL, 9, seed=1)
VALUES = np.random.default_rng(0).normal(5.0, 2.0, size=(103, 7)).astype(np.float32)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made; outputs are computed a batch at a time."""
    monkeypatch.setattr(body_outputs, "_BATCHES_AT_ONCE", 1)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def head(tmp_path):
    """Trains a head on a frozen body of random weights."""
    weights = save_body("musicnn", tmp_path, MUSIC_MEL)

    def train(megabytes, on_epoch_end):
        return trained(
            "musicnn",
            *SPLITS,
            model=ModelSettings(weights=weights, fine_tune=False),
            head_epochs=2,
            cache_megabytes=megabytes,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)],
        )

    return train


def test_a_head_trains_alike_on_outputs_in_memory_and_in_files(scratch, head):
    seen = []

    def look(*_):
        seen.append(sorted(path.stem for path in scratch.rglob("*.npy")))

    in_memory, in_files = head(2048, look), head(0, look)
    assert seen == [[]] * 2 + [["means", "training", "validation"]] * 2
    assert in_files.history == in_memory.history
    np.testing.assert_array_equal(
        in_files.answers.window_probabilities, in_memory.answers.window_probabilities
    )
    assert list(scratch.rglob("*.npy")) == []


def test_files_of_outputs_are_removed_after_a_failure(scratch, head):
    def fail(*_):
        assert list(scratch.rglob("*.npy"))
        raise RuntimeError("the disk of the metrics is full")

    with pytest.raises(RuntimeError, match="metrics is full"):
        head(0, fail)
    assert list(scratch.rglob("*.npy")) == []


def test_batches_hold_rows_with_their_own_labels_and_weights():
    labels = np.arange(103) % 4
    data = body_outputs.shuffled_batches(
        VALUES, labels, genre_weights=np.arange(1.0, 5.0), batch_size=10, seed=3
    )
    values, distributions, weights = next(data.as_numpy_iterator())
    assert not np.array_equal(values, VALUES[:10])
    indices = [int(np.flatnonzero((row == VALUES).all(axis=1))[0]) for row in values]
    np.testing.assert_array_equal(distributions.argmax(axis=1), labels[indices])
    np.testing.assert_array_equal(weights, labels[indices] + 1.0)


def test_order_and_moments_are_those_of_the_array(monkeypatch):
    ordered = np.concatenate(list(body_outputs.batches_in_order(VALUES, 16).as_numpy_iterator()))
    np.testing.assert_array_equal(ordered, VALUES)
    monkeypatch.setattr(body_outputs, "_ROWS_AT_ONCE", 40)
    mean, variance = body_outputs.moments(VALUES)
    np.testing.assert_allclose(mean, VALUES.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, VALUES.var(axis=0), rtol=1e-5)
    assert mean.dtype == variance.dtype == np.float32
