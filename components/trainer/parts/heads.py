"""Heads for genres on pretrained bodies."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers
from tfx.dsl.io import fileio

from components.common.storage import is_remote
from components.trainer.settings import ModelSettings
from components.trainer.weight_sources import WeightsError

BODY = "body"  # name of the pretrained part of a model, a layer
SCALE = "scale"  # name of the normalisation between body and head


def pretrained(
    name: str,
    body: keras.Model,
    *,
    genre_count: int,
    settings: ModelSettings,
    shares: Sequence[float] | None = None,
) -> keras.Model:
    """Puts a linear head on `body`, a model named `BODY` whose output is a vector.

    The head normalises its input, so that a penalty on its weights has the same effect for every
    body, and for music unlike that which the body was trained on.

    Args:
      name: Of the model.
      body: The body.
      genre_count: Number of genres.
      settings: Its dropout counts here.
      shares: What each normalised value is multiplied by, [units]; a smaller one is worth a larger
        penalty. None for all equal.
    """
    window = keras.Input(body.input_shape[1:], name=body.input.name)
    x = layers.BatchNormalization(center=False, scale=False, momentum=0.9, name=SCALE)(body(window))
    if shares is not None:
        x = layers.Rescaling(list(shares), name="shares")(x)
    x = layers.Dropout(settings.dropout)(x)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32", name="genres")(
        x
    )
    return keras.Model(window, probabilities, name=name)


def body_of(model: keras.Model) -> keras.Model | None:
    """The pretrained part of a model; None if it has none."""
    return next((layer for layer in model.layers if layer.name == BODY), None)


def head_of(model: keras.Model) -> keras.Model:
    """The layers after the body as a separate model that shares its weights with `model`."""
    body = model.get_layer(BODY)
    x = values = keras.Input(body.output_shape[1:])
    for layer in model.layers[model.layers.index(body) + 1 :]:
        x = layer(x)
    return keras.Model(values, x, name=f"{model.name}_head")


def fit_scale(head: keras.Model, mean: np.ndarray, variance: np.ndarray) -> None:
    """Sets a head's normalisation to the statistics of its inputs, each float32 [units].

    Args:
      head: The head, or the whole model.
      mean: Of every value.
      variance: Of every value.
    """
    scale = head.get_layer(SCALE)
    scale.set_weights([mean, variance])
    scale.trainable = False  # which fixes the statistics, too


def start_from_scratch(model: keras.Model) -> None:
    """Switches a head's normalisation off if the body, which has no weights yet, has its own.

    A model that is no head on a body stays as it is.

    The statistics of one batch say little of a thousand pooled values: with them `mobilenetv2`
    learns at half the speed (docs/notes/experiments.md). VGG, which has no normalisation, keeps it.
    """
    body = body_of(model)
    if body is None:
        return
    if any(isinstance(layer, layers.BatchNormalization) for layer in _layers_of(body)):
        units = body.output_shape[-1]
        fit_scale(model, np.zeros(units), np.ones(units))


def penalise(head: keras.Model, l2: float) -> None:
    """Sets the L2 penalty on the weights (not the biases) of a head's dense layers."""
    for layer in head.layers:
        if isinstance(layer, layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(l2) if l2 else None


def unfreeze(model: keras.Model, share: float) -> None:
    """Makes the last `share` of the body's layers trainable, except normalisations.

    Normalisations keep their statistics, scale and shift, because a few hundred tracks estimate
    them worse than the data that the body was trained on.
    """
    body = model.get_layer(BODY)
    body_layers = [layer for layer in _layers_of(body) if layer.weights]
    body.trainable = True
    frozen = round(len(body_layers) * (1.0 - share))
    for number, layer in enumerate(body_layers):
        normalisation = isinstance(layer, layers.BatchNormalization)
        layer.trainable = number >= frozen and not normalisation


def _layers_of(body: keras.Model) -> list[keras.layers.Layer]:
    """A body's layers; in place of a network of keras.applications that network's."""
    return [
        layer
        for part in body.layers
        for layer in (part.layers if isinstance(part, keras.Model) else [part])
    ]


def load_body(
    body: keras.Model, path: str, *, model_name: str, network: keras.Model | None = None
) -> None:
    """Reads a body's weights from a file.

    Args:
      body: The body, changed in place.
      path: A `.weights.h5` file that `body.save_weights` wrote, or the `notop` `.h5` file of
        keras.applications; a local path, or one in an object store that TFX can read.
      model_name: Name of the model, for errors.
      network: The network of keras.applications in the body, to which such a file applies; the body
        itself by default.

    Raises:
      WeightsError: There is no such file, or it does not fit; the message names the layer.
    """
    if not fileio.exists(path):
        raise WeightsError(f"no weights file for {model_name}. Received: {path!r}")
    is_body_file = path.endswith(".weights.h5")
    reader = body if is_body_file else network or body
    with tempfile.TemporaryDirectory() as scratch:
        local = path
        if is_remote(path):
            local = str(Path(scratch) / Path(path).name)
            fileio.copy(path, local)
        try:
            reader.load_weights(local)
        except (ValueError, OSError, KeyError) as error:
            # Keras lists every layer; the first one is enough.
            reason = " ".join(str(error).split("List of objects")[0].split())
            if not is_body_file:
                reason += _unmatched_layers(reader, local)
            raise WeightsError(
                f"the weights file does not fit {model_name}: {reason} Received: {path!r}"
            ) from error


def _unmatched_layers(network: keras.Model, path: str) -> str:
    """Names layers that only the network or only the file has; Keras only counts them."""
    try:
        with h5py.File(path) as file:
            in_file = [name for name, group in file.items() if len(group)]
    except OSError:
        return ""
    in_network = [layer.name for layer in network.layers if layer.weights]
    sides = (
        ("the file has no layer", sorted(set(in_network) - set(in_file))),
        (f"{network.name} has no layer", sorted(set(in_file) - set(in_network))),
    )
    return "".join(f" {what} {', '.join(names[:3])}." for what, names in sides if names)
