"""Music-tagging networks rebuilt from their published variables, with a new head for genres.

Pons and Serra trained them to tag songs of the Million Song Dataset and of MagnaTagATune (arXiv
1909.06654, 1711.02520); the PyPI package `musicnn` (ISC licence) ships their variables as
TensorFlow 1 checkpoints. The package's code cannot run on TensorFlow 2 and is never imported: the
variables are read from the installed package and set on Keras layers of the same shape.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers
from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader

from components.audio.features import Feature
from components.trainer.parts.heads import BODY, load_body, pretrained
from components.trainer.settings import MILLION_SONG, NO_WEIGHTS, ModelSettings
from components.trainer.weight_sources import published_checkpoint

_LINEAR = ("kernel", "bias")
_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")
_OPTIMISER = ("/Adam", "beta1_power", "beta2_power")  # of no use after training


class PublishedLayers:
    """Keras layers, each with the checkpoint's variables that its weights are."""

    def __init__(self) -> None:
        self._variables: list[tuple[layers.Layer, tuple[str, ...]]] = []

    def linear(self, layer: layers.Layer, published: str) -> layers.Layer:
        """Adds a dense or convolutional layer, published as `published`."""
        return self._add(layer, _variables(published, _LINEAR))

    def normalised_filters(
        self, layer: layers.Layer, published: str, normalisation: str
    ) -> layers.Layer:
        """Adds a layer that was published as a convolution and the normalisation after it."""
        return self._add(
            layer, _variables(published, _LINEAR) + _variables(normalisation, _NORMALISATION)
        )

    def normalise(self, x: keras.KerasTensor, published: str) -> keras.KerasTensor:
        """Adds a batch normalisation, published as `published`, and applies it to `x`."""
        layer = layers.BatchNormalization(name=published)
        return self._add(layer, _variables(published, _NORMALISATION))(x)

    def load(self, checkpoint: Path) -> tuple[str, ...]:
        """Sets all layers to a checkpoint's values.

        Returns:
          Names of the variables, one for each use.
        """
        values = published_variables(checkpoint)
        for layer, variables in self._variables:
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights(
                [
                    values[variable].reshape(shape)
                    for variable, shape in zip(variables, shapes, strict=True)
                ]
            )
        return tuple(variable for _, variables in self._variables for variable in variables)

    def _add(self, layer: layers.Layer, variables: tuple[str, ...]) -> layers.Layer:
        self._variables.append((layer, variables))
        return layer


def _variables(published: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{published}/{kind}" for kind in kinds)


def published_variables(checkpoint: Path) -> dict[str, np.ndarray]:
    """A checkpoint's variables by name, without the optimiser's."""
    reader = NewCheckpointReader(f"{checkpoint}/")
    return {
        variable: reader.get_tensor(variable)
        for variable in sorted(reader.get_variable_to_shape_map())
        if not any(mark in variable for mark in _OPTIMISER)
    }


@dataclasses.dataclass(frozen=True)
class PublishedTagger:
    """One published network.

    Attributes:
      name: The model's name in the catalog.
      checkpoint: Name of the checkpoint's folder in the package.
      layers_below_tags: Applies the layers below the tags to a normalised window, float32
        [batch, frames, bands, 1], and adds each to the `PublishedLayers`: float32 [batch, units].
    """

    name: str
    checkpoint: str
    layers_below_tags: Callable[[keras.KerasTensor, PublishedLayers], keras.KerasTensor]

    def build(self, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
        """The published network below its tags, and a new head for genres."""
        body, published = self.body(feature)
        if settings.weights == MILLION_SONG:
            published.load(published_checkpoint(self.checkpoint))
        elif settings.weights != NO_WEIGHTS:
            load_body(body, settings.weights, model_name=self.name)
        return pretrained(self.name, body, genre_count=genre_count, settings=settings)

    def body(self, feature: Feature, *, name: str = BODY) -> tuple[keras.Model, PublishedLayers]:
        """The network below its tags, not loaded yet, and what loads it."""
        published = PublishedLayers()
        window = keras.Input(feature.window_shape, name=feature.name)
        x = layers.Reshape((*feature.window_shape, 1))(window)
        x = published.normalise(x, "batch_normalization")
        return keras.Model(window, self.layers_below_tags(x, published), name=name), published
