"""Pooling over time."""

import keras
import numpy as np
import pytest

from components.trainer.parts.pooling import FrameSteps


@pytest.mark.parametrize("time", [12, 15])
def test_statistics_of_every_four_frames(time):
    frames = np.random.default_rng(0).normal(size=(2, time, 5)).astype(np.float32)
    means, deviations, changes, relative = np.split(np.asarray(FrameSteps(4)(frames)), 4, axis=2)
    stretches = frames[:, :12].reshape(2, 3, 4, 5)
    expected = stretches.mean(axis=2)
    np.testing.assert_allclose(means, expected, atol=1e-6)
    np.testing.assert_allclose(deviations, stretches.std(axis=2), atol=1e-3)
    np.testing.assert_allclose(changes[:, 0], 0.0)
    np.testing.assert_allclose(changes[:, 1:], np.diff(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(relative, expected - frames[:, :12].mean(1)[:, None], atol=1e-6)


def test_another_microphone_changes_the_means_alone():
    draw = np.random.default_rng(0)
    frames = draw.normal(size=(2, 16, 5)).astype(np.float32)
    offset = draw.normal(size=(1, 1, 5)).astype(np.float32)
    before, after = (np.asarray(FrameSteps(4)(x)) for x in (frames, frames + offset))
    np.testing.assert_allclose(after[..., 5:], before[..., 5:], atol=1e-5)
    np.testing.assert_allclose(
        after[..., :5] - before[..., :5], np.broadcast_to(offset, (2, 4, 5)), atol=1e-5
    )


def test_a_constant_stretch_has_a_gradient():
    window = keras.Input((8, 2))
    network = keras.Model(window, keras.layers.Dense(1)(FrameSteps(4)(window)))
    network.compile("sgd", "mse")
    silence = np.zeros((4, 8, 2), np.float32)
    history = network.fit(silence, np.ones((4, 2, 1)), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(network.predict(silence)).all()


def test_the_layer_can_be_made_again():
    layer = FrameSteps(4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    frames = np.random.default_rng(0).normal(size=(1, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(layer(frames), again(frames))
