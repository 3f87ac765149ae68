"""Folds batch normalisation into the convolutions before it, for the network that is served.

Keras leaves a multiplication and an addition over every activation behind each convolution, which
also keep TensorFlow from fusing the convolution with its bias and activation. In inference both are
constants, so they belong into the kernel and the bias.
"""

import collections
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)

Pair = tuple[layers.Layer, layers.BatchNormalization]


def folded(network: keras.Model) -> keras.Model:
    """Makes a network with the same answers in inference, but for rounding.

    Folds each batch normalisation that alone reads a linear convolution, in nested networks, too.
    All other layers are shared with `network`, which is unchanged.

    Args:
      network: A functional model; any other is returned as it is.
    """
    if not hasattr(network, "_nodes_by_depth"):
        return network
    pairs = _pairs(network)
    nested = {
        layer.name: inner
        for layer in network.layers
        if isinstance(layer, keras.Model) and (inner := folded(layer)) is not layer
    }
    if not pairs and not nested:
        return network
    merged = {convolution.name: _with_bias(convolution) for convolution, _ in pairs}
    absent = {norm.name for _, norm in pairs}

    def replace(layer: layers.Layer) -> layers.Layer:
        return {**merged, **nested}.get(layer.name, layer)

    def call(layer: layers.Layer, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if layer.name in absent else layer(*arguments, **options)

    # Of a model that is not compiled, or its loss and optimiser would be cloned, too.
    plain = keras.Model(network.input, network.output, name=network.name)
    copy = keras.models.clone_model(plain, clone_function=replace, call_function=call)
    for convolution, norm in pairs:
        merged[convolution.name].set_weights(_weights(convolution, norm))
    return copy


def _pairs(network: keras.Model) -> list[Pair]:
    """Convolutions and the normalisation that each can take in."""
    nodes = [node for level in network._nodes_by_depth.values() for node in level]
    uses = collections.Counter(id(node.operation) for node in nodes)
    readers = collections.Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in network.outputs)
    pairs = []
    for node in nodes:
        if not isinstance(node.operation, layers.BatchNormalization):
            continue
        (tensor,) = node.input_tensors
        before = tensor._keras_history.operation
        once = uses[id(node.operation)] == uses[id(before)] == readers[id(tensor)] == 1
        if once and _is_linear(before) and _is_last_axis(node.operation.axis, tensor):
            pairs.append((before, node.operation))
    return pairs


def _is_linear(layer: layers.Layer) -> bool:
    return (
        type(layer) in (*_CONVOLUTIONS, *_DEPTHWISE)
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        and layer.compute_dtype == layer.variable_dtype == "float32"
    )


def _is_last_axis(axis: int, tensor: keras.KerasTensor) -> bool:
    return axis in (-1, len(tensor.shape) - 1)


def _with_bias(convolution: layers.Layer) -> layers.Layer:
    return type(convolution).from_config({**convolution.get_config(), "use_bias": True})


def _weights(convolution: layers.Layer, norm: layers.BatchNormalization) -> Sequence[np.ndarray]:
    """Kernel and bias of both together, computed in double precision."""
    kernel, *bias = (np.asarray(weight, np.float64) for weight in convolution.get_weights())
    mean, variance = (
        np.asarray(weight, np.float64) for weight in (norm.moving_mean, norm.moving_variance)
    )
    scale = (np.asarray(norm.gamma, np.float64) if norm.scale else 1.0) / np.sqrt(
        variance + norm.epsilon
    )
    shift = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    # A depthwise kernel ends with [inputs, outputs of each], and its outputs are in that order.
    by_output = scale.reshape(kernel.shape[-2:]) if isinstance(convolution, _DEPTHWISE) else scale
    return kernel * by_output, shift + ((bias[0] if bias else 0.0) - mean) * scale
