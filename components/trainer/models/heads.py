"""A head for genres on a body that comes from elsewhere."""

import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers
from tfx.dsl.io import fileio

from components.storage import is_remote
from components.trainer.settings import ModelSettings
from components.trainer.weights import WeightsError

BODY = "body"  # the layer of a model that comes from elsewhere
SCALE = "scale"  # the normalisation between it and the head


def pretrained(
    name: str, body: keras.Model, *, genre_count: int, settings: ModelSettings
) -> keras.Model:
    """Puts a linear head on `body`, a model named `BODY` with a vector for output.

    The head normalises what it is given: a penalty on its weights then means the same for every
    body, and for music that is not what the body was trained on.
    """
    window = keras.Input(body.input_shape[1:], name=body.input.name)
    x = layers.BatchNormalization(center=False, scale=False, momentum=0.9, name=SCALE)(body(window))
    x = layers.Dropout(settings.dropout)(x)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32", name="genres")(
        x
    )
    return keras.Model(window, probabilities, name=name)


def body_of(model: keras.Model) -> keras.Model | None:
    """The part of a model that comes from elsewhere; None if all of it is our own."""
    return next((layer for layer in model.layers if layer.name == BODY), None)


def head_of(model: keras.Model) -> keras.Model:
    """The layers after the body as a model of their own, sharing their weights with `model`."""
    body = model.get_layer(BODY)
    x = values = keras.Input(body.output_shape[1:])
    for layer in model.layers[model.layers.index(body) + 1 :]:
        x = layer(x)
    return keras.Model(values, x, name=f"{model.name}_head")


def fit_scale(head: keras.Model, values: np.ndarray) -> None:
    """Fixes the head's normalisation to the statistics of `values`, float32 [examples, units]."""
    scale = head.get_layer(SCALE)
    scale.set_weights([values.mean(axis=0), values.var(axis=0)])
    scale.trainable = False  # in Keras this fixes the statistics as well


def penalise(head: keras.Model, l2: float) -> None:
    """Sets the L2 penalty on the weights (not the biases) of a head's dense layers."""
    for layer in head.layers:
        if isinstance(layer, layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(l2) if l2 else None


def unfreeze(model: keras.Model, share: float) -> None:
    """Makes the last `share` of the body's layers trainable, normalisations excepted.

    A normalisation that is not trainable keeps its statistics, its scale and its shift, as a few
    hundred tracks estimate them worse than what it was trained on.
    """
    body = model.get_layer(BODY)
    layers_of_body = [
        layer
        for part in body.layers
        for layer in (part.layers if isinstance(part, keras.Model) else [part])
        if layer.weights
    ]
    body.trainable = True
    frozen = round(len(layers_of_body) * (1.0 - share))
    for place, layer in enumerate(layers_of_body):
        normalisation = isinstance(layer, layers.BatchNormalization)
        layer.trainable = place >= frozen and not normalisation


def load_body(
    body: keras.Model, path: str, *, model_name: str, network: keras.Model | None = None
) -> None:
    """Reads a body's weights from a file.

    Args:
      body: What they are for.
      path: `.weights.h5` that `body.save_weights` wrote, or the `.h5` of keras.applications (the
        `notop` one); a local path, or one of an object store that TFX can read.
      model_name: For the message.
      network: The layers that a file of keras.applications holds, which share their variables with
        the body; the body itself unless given.

    Raises:
      WeightsError: There is no such file, or it does not fit; names the layer.
    """
    if not fileio.exists(path):
        raise WeightsError(f"no weights file for {model_name}. Received: {path!r}")
    own = path.endswith(".weights.h5")
    reader = body if own else network or body
    with tempfile.TemporaryDirectory() as scratch:
        local = path
        if is_remote(path):
            local = str(Path(scratch) / Path(path).name)
            fileio.copy(path, local)
        try:
            reader.load_weights(local)
        except (ValueError, OSError, KeyError) as error:
            # Keras goes on to list every layer; the first one says enough.
            reason = " ".join(str(error).split("List of objects")[0].split())
            if not own:
                reason += _strangers(reader, local)
            raise WeightsError(
                f"the weights file does not fit {model_name}: {reason} Received: {path!r}"
            ) from error


def _strangers(network: keras.Model, path: str) -> str:
    """The layers that only the network or only the file has, as Keras counts them alone."""
    try:
        with h5py.File(path) as file:
            there = [name for name, group in file.items() if len(group)]
    except OSError:
        return ""
    here = [layer.name for layer in network.layers if layer.weights]
    sides = (
        ("the file has no layer", sorted(set(here) - set(there))),
        (f"{network.name} has no layer", sorted(set(there) - set(here))),
    )
    return "".join(f" {what} {', '.join(names[:3])}." for what, names in sides if names)
