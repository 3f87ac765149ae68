"""Tiny splits: a few short tracks of noise with a colour for each genre, for any feature."""

import dataclasses

import numpy as np
import pytest

from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.trainer.catalog import CATALOG, recommended
from components.trainer.data.tracks import Tracks
from components.trainer.models import build
from components.trainer.parts.heads import BODY
from components.trainer.settings import NO_WEIGHTS, AugmentationSettings, ModelSettings
from components.trainer.training.loop import train

GENRE_NAMES = tuple("abcd")
SHORT = AudioSettings(clip_seconds=4)


def described(name: str, settings: AudioSettings = SHORT) -> Feature:
    """The feature that the model `name` reads."""
    return feature(CATALOG[name].feature, settings)


def coloured(feature: Feature, count: int, seed: int = 0) -> Tracks:
    """Noise around a spectral shape that tells the genre; genres take turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(GENRE_NAMES)
    shape = np.sin(np.arange(feature.bins) / feature.bins * np.pi * (labels[:, None] + 1))
    matrices = rng.normal(size=(count, *feature.clip_shape)) + 2.0 * shape[:, None, :]
    return Tracks.from_arrays(feature, matrices, labels)


def tiny(name: str, **changes: object):
    """The recommended settings at the least size that still trains."""
    settings = recommended(name)
    model = dataclasses.replace(settings.model, weights=NO_WEIGHTS, width=0.25)
    values = {
        "model": model,
        "epochs": 1,
        "head_epochs": 1,
        "batch_size": 4,
        "windows_per_track": 1,
        **changes,
    }
    return dataclasses.replace(settings, **values)


def save_body(name: str, folder, reads: Feature | None = None) -> str:
    """Writes a body of random weights; returns its file."""
    reads = reads or described(name)
    model = build(name, feature=reads, genre_count=4, settings=ModelSettings())
    model.get_layer(BODY).save_weights(folder / "body.weights.h5")
    return str(folder / "body.weights.h5")


def trained(name: str, training: Tracks, validation: Tracks | None = None, **changes):
    """The result of a training with the `tiny` settings, changed; `callbacks` are passed on."""
    callbacks = changes.pop("callbacks", ())
    return train(
        name,
        training,
        validation,
        settings=tiny(name, **changes),
        genres=GENRE_NAMES,
        callbacks=callbacks,
    )


@pytest.fixture
def no_augmentation() -> AugmentationSettings:
    return AugmentationSettings()
