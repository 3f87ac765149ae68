"""The fused normalisation computes what Keras's does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from components.trainer.parts.normalisation import (
    FusedBatchNormalization,
    with_fused_normalisations,
)

MAPS = np.random.default_rng(0).normal(2.0, 3.0, (16, 12, 10, 5)).astype(np.float32)


def pair(shape=MAPS.shape, **settings):
    """Keras's layer and ours with the same weights."""
    rng = np.random.default_rng(1)
    both = layers.BatchNormalization(**settings), FusedBatchNormalization(**settings)
    for layer in both:
        layer.build(shape)
    weights = [rng.uniform(0.5, 1.5, weight.shape) for weight in both[0].weights]
    for layer in both:
        layer.set_weights(weights)
    return both


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_keras(scale, center):
    results = []
    weighting = np.random.default_rng(2).normal(size=MAPS.shape).astype(np.float32)
    for layer in pair(scale=scale, center=center, momentum=0.9):
        inputs = tf.constant(MAPS)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * weighting)
        trained = [variable.value for variable in layer.trainable_variables]
        gradients = tape.gradient(loss, [inputs, *trained])
        results.append((outputs, *gradients, layer.moving_mean, layer.moving_variance))
    for plain, fused in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=2e-3, atol=2e-4)


def test_the_fused_operation_is_in_the_graph_only_while_it_is_trained():
    layer = FusedBatchNormalization()
    layer.build(MAPS.shape)

    def operations(training):
        graph = tf.function(lambda x: layer(x, training=training)).get_concrete_function(MAPS)
        return {operation.type for operation in graph.graph.get_operations()}

    assert "FusedBatchNormV3" in operations(True)
    assert "FusedBatchNormV3" not in operations(False)
    layer.trainable = False
    assert "FusedBatchNormV3" not in operations(True)


@pytest.mark.parametrize("shape", [(16, 5), (16, 12, 5)])
def test_vectors_and_sequences_are_normalised_by_keras(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    plain, fused = (layer(values, training=True) for layer in pair(shape))
    np.testing.assert_array_equal(fused, plain)


def test_mixed_precision_gives_what_its_policy_says():
    layer = FusedBatchNormalization(dtype="mixed_bfloat16")
    outputs = layer(tf.cast(MAPS, tf.bfloat16), training=True)
    assert outputs.dtype == tf.bfloat16
    assert layer.moving_mean.dtype == "float32"


def test_a_network_is_copied_with_its_weights_and_another_momentum():
    window = keras.Input((12, 10, 5))
    x = layers.BatchNormalization(momentum=0.99, name="norm")(window)
    network = keras.Model(window, layers.Conv2D(3, 3)(x))
    copy = with_fused_normalisations(network, momentum=0.9)
    assert isinstance(copy.get_layer("norm"), FusedBatchNormalization)
    assert copy.get_layer("norm").momentum == 0.9
    np.testing.assert_array_equal(copy(MAPS), network(MAPS))


def test_a_network_without_normalisations_is_not_copied():
    window = keras.Input((12, 10, 5))
    network = keras.Model(window, layers.Conv2D(3, 3)(window))
    assert with_fused_normalisations(network, momentum=0.9) is network


def test_a_model_with_it_is_saved_and_read(tmp_path):
    window = keras.Input(MAPS.shape[1:])
    model = keras.Model(window, FusedBatchNormalization()(window))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(MAPS), model(MAPS))
