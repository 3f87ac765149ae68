"""Folded networks answer as the ones that they are made of, with fewer operations."""

import keras
import numpy as np
import pytest
from keras import layers

from components.gtzan.genres import GENRES
from components.trainer.models import build
from components.trainer.release.folding import folded
from components.trainer.settings import NO_WEIGHTS, ModelSettings
from tests.trainer.conftest import described


def norms(network: keras.Model) -> int:
    return sum(
        norms(layer) if isinstance(layer, keras.Model) else "BatchNorm" in type(layer).__name__
        for layer in network.layers
    )


def trained(network: keras.Model) -> keras.Model:
    """Gives every normalisation statistics as of a training, which are no identity."""
    rng = np.random.default_rng(3)
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            trained(layer)
        elif isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.1, shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.1, shape))
    return network


def answers(network: keras.Model) -> np.ndarray:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, *network.input_shape[1:])).astype(np.float32)
    return np.asarray(network(x, training=False))


def chain(*chained: layers.Layer, shape: tuple[int, ...]) -> keras.Model:
    x = window = keras.Input(shape)
    for layer in chained:
        x = layer(x)
    return keras.Model(window, x)


BN = layers.BatchNormalization


@pytest.mark.parametrize(
    ("chained", "shape", "left"),
    [
        ([layers.Conv2D(4, 3, use_bias=False), BN(), layers.ReLU()], (9, 8, 3), 0),
        ([layers.Conv2D(4, 3, strides=2, groups=2), BN(scale=False)], (9, 8, 2), 0),
        ([layers.Conv1D(4, 3), BN(center=False), layers.Conv1D(2, 2), BN()], (9, 3), 0),
        ([layers.DepthwiseConv2D(3, depth_multiplier=2), BN()], (9, 8, 3), 0),
        ([layers.DepthwiseConv1D(3, use_bias=False), BN(axis=2)], (9, 3), 0),
        ([layers.Conv2D(4, 3, activation="relu"), BN()], (9, 8, 3), 1),
        ([layers.Conv2D(4, 3), BN(axis=1)], (9, 8, 3), 1),
        ([BN(), layers.Conv2D(4, 3)], (9, 8, 3), 1),
        ([layers.SeparableConv2D(4, 3), BN()], (9, 8, 3), 1),
        ([layers.Conv2D(4, 3), BN(), BN()], (9, 8, 3), 1),
    ],
)
def test_a_normalisation_after_a_linear_convolution_is_folded(chained, shape, left):
    network = trained(chain(*chained, shape=shape))
    before = answers(network)
    copy = folded(network)
    assert norms(copy) == left
    np.testing.assert_allclose(answers(copy), before, atol=2e-6)
    np.testing.assert_array_equal(answers(network), before)  # the trained one is as it was


def test_what_others_read_is_not_folded():
    window = keras.Input((9, 3))
    convolution, norm = layers.Conv1D(4, 3), BN()
    read_twice = convolution(window)
    network = keras.Model(window, layers.Add()([norm(read_twice), read_twice]))
    assert folded(trained(network)) is network
    convolved = layers.Conv1D(4, 3)(window)
    network = keras.Model(window, [convolved, BN()(convolved)])
    assert folded(trained(network)) is network
    shared = BN()
    x = layers.Conv1D(4, 3, padding="same")(window)
    network = keras.Model(window, shared(layers.Conv1D(4, 3, padding="same")(shared(x))))
    assert folded(trained(network)) is network


def test_a_compiled_network_with_a_nested_one_is_folded():
    inner = chain(layers.Conv1D(4, 3), BN(), shape=(9, 3))
    network = trained(chain(inner, layers.Conv1D(2, 3), BN(), layers.Dropout(0.5), shape=(9, 3)))
    network.compile("adam", loss=lambda *_: 0.0)  # which could not be cloned
    copy = folded(network)
    assert (norms(network), norms(copy)) == (2, 0)
    np.testing.assert_allclose(answers(copy), answers(network), atol=2e-6)


@pytest.mark.parametrize(("name", "left"), [("cnn", 0), ("mobilenetv2", 1)])
def test_networks_of_the_catalog_lose_theirs(name, left):
    keras.utils.set_random_seed(1)
    settings = ModelSettings(weights=NO_WEIGHTS, width=0.25)
    network = build(name, feature=described(name), genre_count=len(GENRES), settings=settings)
    copy = folded(trained(network))
    assert norms(network) > norms(copy) == left
    np.testing.assert_allclose(answers(copy), answers(network), atol=1e-5)
