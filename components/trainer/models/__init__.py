"""The models, one file each: the file's name is the model's.

To add a model, write a file here that holds its `ENTRY`, and add its name to
`components/trainer/catalog.py`. Models are found by name, so that whoever trains one of them loads
the code of no other. Entries are read without importing Keras.
"""

import importlib
from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import ModelSettings

if TYPE_CHECKING:
    import keras


def module_name(name: str) -> str:
    """Dotted path of the module that defines the model `name`."""
    return f"{__name__}.{name}"


def entry(name: str) -> ModelEntry:
    """The definition of the model `name`.

    Raises:
      ValueError: There is no model of that name.
    """
    try:
        module = importlib.import_module(module_name(name))
    except ModuleNotFoundError as error:
        if error.name != module_name(name):
            raise
        raise ValueError(
            f"unknown model: there is no file components/trainer/models/{name}.py. "
            f"Received: {name!r}"
        ) from error
    definition: ModelEntry = module.ENTRY
    return definition


def build(
    name: str, *, feature: Feature, genre_count: int, settings: ModelSettings
) -> "keras.Model":
    """Builds the model `name`.

    Args:
      name: A name of the catalog, the ensemble excepted (it is made of exported models).
      feature: The feature that it reads.
      genre_count: Number of genres.
      settings: Its size and what it starts from.

    Returns:
      A model from one window, float32 [batch, window_frames, bins], to probabilities, float32
      [batch, genres]. A pretrained one has a layer named `parts.heads.BODY`.

    Raises:
      ValueError: The name is unknown, or the feature is not the one that the model reads.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> log_mel = feature("log_mel", AudioSettings())
      >>> model = build("cnn", feature=log_mel, genre_count=10, settings=ModelSettings())
      >>> model.input_shape, model.output_shape
      ((None, 128, 128), (None, 10))
    """
    model = entry(name)
    if model.build is None:
        raise ValueError(f"{name} is made of trained models and has no network of its own")
    if feature.name != model.feature:
        raise ValueError(f"{name} reads {model.feature}. Received: {feature.name!r}")
    return model.build(feature=feature, genre_count=genre_count, settings=settings)
