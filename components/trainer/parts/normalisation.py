"""Batch normalisation at a fraction of the cost of Keras's own."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("gatefold")
class FusedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation of maps, by TensorFlow's one fused operation while it is trained.

    Keras 3 computes moments, scale and shift one after the other, each in a pass over all maps and
    again on the way back: a third of `cnn`'s training step on a CPU, and more than half of
    `crnn`'s (docs/notes/experiments.md). Results are the same but for rounding and the running
    variance, which is the unbiased estimate, as it was in Keras 2. Where the layer is not trained,
    or normalises anything but maps with channels last, it is Keras's.
    """

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """See `keras.layers.BatchNormalization`."""
        maps = len(inputs.shape) == 4 and self.axis in (-1, 3)
        if not (training and self.trainable and maps) or mask is not None or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        units = (inputs.shape[-1],)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(units),
            offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros(units),
            epsilon=self.epsilon,
            is_training=True,
        )
        for running, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + value * (1.0 - self.momentum))
        return outputs


def with_fused_normalisations(network: keras.Model, *, momentum: float) -> keras.Model:
    """Copies a network with `FusedBatchNormalization` in place of Keras's, with its weights.

    A network without normalisations is returned as it is.

    Args:
      network: A functional model.
      momentum: Of the running statistics, in place of the network's.
    """
    if not any(isinstance(layer, layers.BatchNormalization) for layer in network.layers):
        return network

    def copied(layer: layers.Layer) -> layers.Layer:
        if isinstance(layer, layers.BatchNormalization):
            config = {**layer.get_config(), "momentum": momentum}
            return FusedBatchNormalization.from_config(config)
        return layer.__class__.from_config(layer.get_config())

    fused = keras.models.clone_model(network, clone_function=copied)
    fused.set_weights(network.get_weights())
    return fused
