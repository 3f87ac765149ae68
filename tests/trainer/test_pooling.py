"""Pooling over time."""

import keras
import numpy as np
import pytest

from components.trainer.parts.pooling import MeanAndDeviation


@pytest.mark.parametrize("time", [12, 15])
def test_mean_and_deviation_of_every_four_frames(time):
    frames = np.random.default_rng(0).normal(size=(2, time, 5)).astype(np.float32)
    pooled = np.asarray(MeanAndDeviation(4)(frames))
    stretches = frames[:, :12].reshape(2, 3, 4, 5)
    expected = np.concatenate([stretches.mean(axis=2), stretches.std(axis=2)], axis=2)
    np.testing.assert_allclose(pooled, expected, atol=1e-3)


def test_a_constant_stretch_has_a_gradient():
    window = keras.Input((8, 2))
    network = keras.Model(window, keras.layers.Dense(1)(MeanAndDeviation(4)(window)))
    network.compile("sgd", "mse")
    silence = np.zeros((4, 8, 2), np.float32)
    history = network.fit(silence, np.ones((4, 2, 1)), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(network.predict(silence)).all()


def test_the_layer_can_be_made_again():
    layer = MeanAndDeviation(4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    frames = np.random.default_rng(0).normal(size=(1, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(layer(frames), again(frames))
