"""The music-pretrained networks musicnn and musicvgg, rebuilt from their published variables.

Both were trained by Pons and Serra to tag songs of the Million Song Dataset (arXiv 1909.06654,
1711.02520); the PyPI package `musicnn` (ISC licence) ships their variables as TensorFlow 1
checkpoints. The package's code cannot run on TensorFlow 2 and is never imported: the variables
are read where the package lies and set on Keras layers of the same shape.
"""

import dataclasses
import importlib.util
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader

from components.audio.features import Feature
from components.trainer.models.filters import PooledFilters
from components.trainer.models.heads import BODY, load_body, pretrained
from components.trainer.settings import MILLION_SONG, NO_WEIGHTS, ModelSettings

# In the order of the checkpoints' last layer (`MSD_LABELS` of musicnn/configuration.py).
TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists",
    "classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill",
    "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country",
    "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock",
    "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip

_CHECKPOINTS = {"musicnn": "MSD_musicnn", "musicvgg": "MSD_vgg"}
_LINEAR = ("kernel", "bias")
_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")
_LAST_OF_MUSICNN = "batch_normalization_10"  # below its tags
_OPTIMISER = ("/Adam", "beta1_power", "beta2_power")  # of no use after training


@dataclasses.dataclass(frozen=True)
class _Part:
    """A Keras layer and the checkpoint's variables that its weights are, in their order."""

    layer: layers.Layer
    variables: tuple[str, ...]


def build(name: str, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
    """The published network below its tags, and a new head for genres."""
    body, parts = _body(name, feature)
    if settings.weights == MILLION_SONG:
        load_published(name, parts)
    elif settings.weights != NO_WEIGHTS:
        load_body(body, settings.weights, model_name=name)
    return pretrained(name, body, genre_count=genre_count, settings=settings)


def tagger(name: str, feature: Feature) -> tuple[keras.Model, tuple[str, ...]]:
    """The whole published network: from a window to the probabilities of `TAGS`.

    Returns:
      The model, and the names of the checkpoint's variables that it holds, one for each use.
    """
    body, parts = _body(name, feature)
    musicnn = name == "musicnn"
    below = body.get_layer(_LAST_OF_MUSICNN).output if musicnn else body.output
    published = "dense_1" if musicnn else "dense"
    layer = layers.Dense(len(TAGS), activation="sigmoid", name=published)
    model = keras.Model(body.input, layer(below), name=f"{name}_tagger")
    parts.append(_Part(layer, _names(published, *_LINEAR)))
    return model, load_published(name, parts)


def checkpoint_folder(name: str) -> Path:
    """Where the installed package keeps the checkpoint of `musicnn` or `musicvgg`.

    Raises:
      FileNotFoundError: The package `musicnn` is not installed.
    """
    spec = importlib.util.find_spec("musicnn")  # finds the package without running its code
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / _CHECKPOINTS[name]
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the weights of {name} come with the PyPI package musicnn: "
        "install it with `pip install --no-deps musicnn==0.1.0`"
    )


def published_variables(name: str) -> dict[str, np.ndarray]:
    """The checkpoint's variables by name, without the optimiser's."""
    reader = NewCheckpointReader(f"{checkpoint_folder(name)}/")
    return {
        variable: reader.get_tensor(variable)
        for variable in sorted(reader.get_variable_to_shape_map())
        if not any(mark in variable for mark in _OPTIMISER)
    }


def load_published(name: str, parts: list[_Part]) -> tuple[str, ...]:
    """Sets the layers to the checkpoint's values; returns the variables used, one for each use."""
    values = published_variables(name)
    for part in parts:
        found = [values[variable] for variable in part.variables]
        shapes = [weight.shape for weight in part.layer.weights]
        part.layer.set_weights(
            [value.reshape(shape) for value, shape in zip(found, shapes, strict=True)]
        )
    return tuple(variable for part in parts for variable in part.variables)


def _body(name: str, feature: Feature) -> tuple[keras.Model, list[_Part]]:
    window = keras.Input(feature.window_shape, name=feature.name)
    parts: list[_Part] = []
    x = layers.Reshape((*feature.window_shape, 1))(window)
    x = _normalise(x, "batch_normalization", parts)
    x = _musicnn(x, parts) if name == "musicnn" else _musicvgg(x, parts)
    return keras.Model(window, x, name=BODY), parts


def _normalise(x: keras.KerasTensor, published: str, parts: list[_Part]) -> keras.KerasTensor:
    layer = layers.BatchNormalization(name=published)
    parts.append(_Part(layer, _names(published, *_NORMALISATION)))
    return layer(x)


def _names(published: str, *kinds: str) -> tuple[str, ...]:
    return tuple(f"{published}/{kind}" for kind in kinds)


def _musicnn(x: keras.KerasTensor, parts: list[_Part]) -> keras.KerasTensor:
    """Timbral and temporal filters, three residual layers over time, pooled, and a dense layer.

    ReLU comes before normalisation throughout, as in the published network. A head reads both the
    pooled values, which are rich, and those of the dense layer, which are nearest to the tags and
    so to genres.

    Returns:
      float32 [batch, 1506 + 200].
    """
    x = layers.Reshape(x.shape[1:3])(x)
    front = []
    kernels = [(204, (7, 38)), (204, (7, 67)), (51, (128, 1)), (51, (64, 1)), (51, (32, 1))]
    for number, (channels, kernel) in enumerate(kernels):
        published = f"conv2d_{number}" if number else "conv2d"
        filters = PooledFilters(channels, kernel, name=published)
        variables = _names(published, *_LINEAR)
        variables += _names(f"batch_normalization_{number + 1}", *_NORMALISATION)
        parts.append(_Part(filters, variables))
        front.append(filters(x))
    x = layers.Concatenate(name="front_end")(front)
    stages = [x]
    for number in (5, 6, 7):
        published = f"conv2d_{number}"
        layer = layers.Conv1D(64, 7, padding="same", activation="relu", name=published)
        parts.append(_Part(layer, _names(published, *_LINEAR)))
        found = _normalise(layer(x), f"batch_normalization_{number + 1}", parts)
        x = found if number == 5 else layers.Add(name=f"residual_{number}")([found, x])
        stages.append(x)
    everything = layers.Concatenate(name="mid_end")(stages)
    pooled = _normalise(MaximumAndMean(name="pooled")(everything), "batch_normalization_9", parts)
    dense = layers.Dense(200, activation="relu", name="dense")
    parts.append(_Part(dense, _names("dense", *_LINEAR)))
    nearest = _normalise(dense(pooled), _LAST_OF_MUSICNN, parts)
    return layers.Concatenate(name="below_the_tags")([pooled, nearest])


def _musicvgg(x: keras.KerasTensor, parts: list[_Part]) -> keras.KerasTensor:
    """Five convolutions with pooling between them: [batch, 256]."""
    pools = [((4, 1), 2), (2, 2), (2, 2), (2, 2), (4, 4)]
    for number, (size, strides) in enumerate(pools, start=1):
        layer = layers.Conv2D(128, 3, padding="same", activation="relu", name=f"conv_{number}")
        parts.append(_Part(layer, _names(f"{number}CNN", *_LINEAR)))
        x = _normalise(layer(x), f"batch_normalization_{number}", parts)
        x = layers.MaxPooling2D(size, strides)(x)
    return layers.Flatten()(x)


@keras.saving.register_keras_serializable("gatefold")
class MaximumAndMean(layers.Layer):
    """Maximum and mean over time, interleaved by channel: [batch, frames, c] to [batch, 2 c]."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Pools in the order in which the checkpoint's next layer expects its values."""
        pooled = ops.stack([ops.max(x, axis=1), ops.mean(x, axis=1)], axis=-1)
        return ops.reshape(pooled, (-1, 2 * x.shape[-1]))
