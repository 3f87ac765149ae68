"""Tiny splits: a few tracks of noise with a colour for each genre, in the shape of any feature."""

import dataclasses

import numpy as np
import pytest

from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.trainer.catalog import CATALOG, recommended
from components.trainer.data.windows import Tracks
from components.trainer.settings import NO_WEIGHTS, AugmentationSettings

GENRE_NAMES = tuple("abcd")


def described(name: str) -> Feature:
    """The feature that the model `name` reads."""
    return feature(CATALOG[name].feature, AudioSettings())


def coloured(feature: Feature, count: int, seed: int = 0) -> Tracks:
    """Noise around a spectral shape that tells the genre; genres take turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(GENRE_NAMES)
    shape = np.sin(np.arange(feature.bins) / feature.bins * np.pi * (labels[:, None] + 1))
    matrices = rng.normal(size=(count, *feature.clip_shape)) + 2.0 * shape[:, None, :]
    return Tracks.from_arrays(matrices, labels)


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


@pytest.fixture
def no_augmentation() -> AugmentationSettings:
    return AugmentationSettings()
