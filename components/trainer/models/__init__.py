"""The models, one file a family. `build` finds one by its name in the catalog."""

import importlib

import keras

from components.audio.features import Feature
from components.trainer.catalog import CATALOG
from components.trainer.settings import ModelSettings

_FAMILIES = {
    "ann": "ann",
    "cnn": "cnn",
    "lstm": "recurrent",
    "crnn": "recurrent",
    "vgg16": "backbones",
    "vgg19": "backbones",
    "efficientnetb0": "backbones",
    "inceptionv3": "backbones",
    "mobilenetv2": "backbones",
    "musicnn": "music",
    "musicvgg": "music",
}


def build(name: str, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
    """Builds the model `name`.

    Args:
      name: A name of the catalog, the ensemble excepted (it is made of exported models).
      feature: What it reads.
      genre_count: Genres that it tells apart.
      settings: Its size and what it starts from.

    Returns:
      A model from one window, float32 [batch, window_frames, bins], to probabilities, float32
      [batch, genres]. A pretrained one has a layer named `BODY`.

    Raises:
      ValueError: The name is unknown, or the feature is not the one that the model reads.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown model: expected one of {tuple(_FAMILIES)}. Received: {name!r}")
    if feature.name != CATALOG[name].feature:
        raise ValueError(f"{name} reads {CATALOG[name].feature}. Received: {feature.name!r}")
    family = importlib.import_module(f"components.trainer.models.{_FAMILIES[name]}")
    return family.build(name, feature=feature, genre_count=genre_count, settings=settings)
