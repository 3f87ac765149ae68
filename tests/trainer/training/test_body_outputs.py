"""Outputs of frozen bodies, on which heads are trained: right, in files, which go away."""

import tempfile

import keras
import numpy as np
import pytest

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.settings import ModelSettings
from components.trainer.training import body_outputs
from tests.trainer.conftest import coloured, save_body, trained

MUSIC_MEL = feature("music_mel", AudioSettings(clip_seconds=6))
SPLITS = coloured(MUSIC_MEL, 20), coloured(MUSIC_MEL, 9, seed=1)
VALUES = np.random.default_rng(0).normal(5.0, 2.0, size=(103, 7)).astype(np.float32)


def test_outputs_are_those_of_each_window_and_means_those_that_count(tmp_path, monkeypatch):
    monkeypatch.setattr(body_outputs, "_BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(body_outputs, "_TRACKS_AT_ONCE", 4)
    settings = ModelSettings(weights=save_body("musicnn", tmp_path, MUSIC_MEL))
    model = build("musicnn", feature=MUSIC_MEL, genre_count=4, settings=settings)
    body, tracks = model.get_layer(heads.BODY), SPLITS[1]
    outputs = body_outputs.body_outputs(body, tracks, tmp_path / "outputs.npy")
    matrices = np.stack([matrix for matrix, *_ in tracks.dataset.as_numpy_iterator()])
    windows = MUSIC_MEL.windows_per_track
    cut = matrices[:, : windows * MUSIC_MEL.window_frames].reshape(-1, *MUSIC_MEL.window_shape)
    np.testing.assert_allclose(outputs, body.predict(cut, verbose=0), atol=1e-5)
    means = body_outputs.track_means(outputs, tracks, tmp_path / "means.npy")
    by_track = outputs.reshape(tracks.count, windows, -1)
    np.testing.assert_allclose(means, by_track.mean(axis=1), atol=1e-6)


def test_files_of_outputs_are_removed_even_after_a_failure(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    weights = save_body("musicnn", tmp_path, MUSIC_MEL)

    def fail(*_):
        names = {path.stem for path in folder.rglob("*.npy")}
        assert names == {"means", "training", "validation"}
        raise RuntimeError("the disk of the metrics is full")

    with pytest.raises(RuntimeError, match="metrics is full"):
        trained(
            "musicnn",
            *SPLITS,
            model=ModelSettings(weights=weights, fine_tune=False),
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=fail)],
        )
    assert list(folder.rglob("*.npy")) == []


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
