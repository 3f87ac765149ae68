"""Outputs of frozen bodies over the memory limit: the same training from files, which go away."""

import dataclasses
import tempfile

import keras
import numpy as np
import pytest

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.training import body_outputs
from components.trainer.training.loop import train
from tests.trainer.conftest import GENRE_NAMES, coloured, tiny

MUSIC_MEL = feature("music_mel", AudioSettings(clip_seconds=6))
SPLITS = coloured(MUSIC_MEL, 20), coloured(MUSIC_MEL, 9, seed=1)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made; outputs are computed a batch at a time."""
    monkeypatch.setattr(body_outputs, "_BATCHES_AT_ONCE", 1)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path):
    """A head on a frozen body of random weights."""
    chosen = tiny("musicnn", head_epochs=2)
    body = build("musicnn", feature=MUSIC_MEL, genre_count=4, settings=chosen.model).get_layer(
        heads.BODY
    )
    body.save_weights(tmp_path / "body.weights.h5")
    model = dataclasses.replace(
        chosen.model, weights=str(tmp_path / "body.weights.h5"), fine_tune=False
    )
    return dataclasses.replace(chosen, model=model)


def trained(settings, callback=None):
    return train(
        "musicnn",
        *SPLITS,
        settings=settings,
        feature=MUSIC_MEL,
        genres=GENRE_NAMES,
        callbacks=[callback] if callback else [],
    )


def test_a_head_trains_alike_on_outputs_in_memory_and_in_files(scratch, settings):
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(
            sorted({path.parent.name for path in scratch.rglob("*.float32")})
        )
    )
    in_memory = trained(settings, look)
    in_files = trained(dataclasses.replace(settings, cache_megabytes=0), look)
    assert seen == [[]] * 2 + [["means", "training", "validation"]] * 2
    assert in_files.history == in_memory.history
    np.testing.assert_array_equal(in_files.validation_answers, in_memory.validation_answers)
    assert list(scratch.rglob("*.float32")) == []


def test_files_of_outputs_are_removed_after_a_failure(scratch, settings):
    def fail(*_):
        assert list(scratch.rglob("*.float32"))
        raise RuntimeError("the disk of the metrics is full")

    with pytest.raises(RuntimeError, match="metrics is full"):
        trained(
            dataclasses.replace(settings, cache_megabytes=0),
            keras.callbacks.LambdaCallback(on_epoch_end=fail),
        )
    assert list(scratch.rglob("*.float32")) == []
