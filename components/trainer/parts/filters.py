"""Layers of musicnn: its timbral and temporal filters, and its pooling over time."""

from typing import Any

import keras
from keras import layers, ops

_EPSILON = 1e-3  # TensorFlow 1's, with which the published statistics were gathered
_FRAMES_A_STEP = 8


@keras.saving.register_keras_serializable("gatefold")
class PooledFilters(layers.Layer):
    """Convolution, ReLU, normalisation and maximum over all bands, at a third of the usual cost.

    The maximum is taken first. ReLU never decreases and normalisation is a straight line, so
    `max(normalise(relu(c + bias)))` is `normalise(relu(max(c) + bias))` where the line rises and
    `normalise(relu(min(c) + bias))` where it falls. The maps before the maximum are 59 times as
    large as those after it. The normalisation is fixed: statistics, scale and shift.

    Args:
      channels: Filters.
      kernel_size: Frames and bands that a filter covers. One band makes it temporal: padded in
        time to the input's length and slid over every band.

    Input float32 [batch, frames, bands]; output float32 [batch, frames, channels].
    """

    def __init__(self, channels: int, kernel_size: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel_size = tuple(kernel_size)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the variables of a convolution and of the normalisation after it."""
        channels = (self.channels,)
        self.kernel = self.add_weight(shape=(*self.kernel_size, 1, self.channels), name="kernel")
        self.bias = self.add_weight(shape=channels, initializer="zeros", name="bias")
        self.gamma = self.add_weight(
            shape=channels, initializer="ones", trainable=False, name="gamma"
        )
        self.beta = self.add_weight(
            shape=channels, initializer="zeros", trainable=False, name="beta"
        )
        self.mean = self.add_weight(
            shape=channels, initializer="zeros", trainable=False, name="moving_mean"
        )
        self.variance = self.add_weight(
            shape=channels, initializer="ones", trainable=False, name="moving_variance"
        )

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Filters, and keeps each filter's strongest band (the weakest where gamma < 0)."""
        gamma, beta, mean, variance = (
            ops.cast(value, self.compute_dtype)
            for value in (self.gamma, self.beta, self.mean, self.variance)
        )
        sign = ops.where(gamma < 0, -1.0, 1.0)
        sign = ops.cast(sign, self.compute_dtype)
        kernel = ops.cast(self.kernel, self.compute_dtype) * sign
        temporal = self.kernel_size[1] == 1
        strongest = self._temporal(x, kernel) if temporal else self._timbral(x, kernel)
        activation = ops.relu(strongest * sign + ops.cast(self.bias, self.compute_dtype))
        return (activation - mean) * (gamma / ops.sqrt(variance + _EPSILON)) + beta

    def _timbral(self, x: keras.KerasTensor, kernel: keras.KerasTensor) -> keras.KerasTensor:
        frames = self.kernel_size[0]
        padded = ops.pad(x, [[0, 0], [(frames - 1) // 2, frames // 2], [0, 0]])
        return ops.max(ops.conv(padded[..., None], kernel, padding="valid"), axis=2)

    def _temporal(self, x: keras.KerasTensor, kernel: keras.KerasTensor) -> keras.KerasTensor:
        """Convolution over time with one input channel, as a product of large matrices.

        One step of a strided convolution makes `_FRAMES_A_STEP` frames of output, with as many
        shifted copies of the filters side by side: several times as fast as sliding them.
        """
        length, step = self.kernel_size[0], _FRAMES_A_STEP
        frames, bands = x.shape[1:]
        steps = -(-frames // step)
        before = (length - 1) // 2
        after = steps * step + length - 1 - frames - before
        padded = ops.pad(ops.transpose(x, (0, 2, 1)), [[0, 0], [0, 0], [before, after]])
        shifted = ops.stack(
            [
                ops.pad(kernel[:, 0, 0], [[shift, step - 1 - shift], [0, 0]])
                for shift in range(step)
            ],
            axis=1,
        )
        filtered = ops.conv(
            ops.reshape(padded, (-1, padded.shape[2], 1)),
            ops.reshape(shifted, (length + step - 1, 1, step * self.channels)),
            strides=step,
            padding="valid",
        )
        strongest = ops.max(
            ops.reshape(filtered, (-1, bands, steps * step * self.channels)), axis=1
        )
        return ops.reshape(strongest, (-1, steps * step, self.channels))[:, :frames]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output's shape: filters take the place of bands."""
        return (*input_shape[:2], self.channels)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "kernel_size": self.kernel_size,
        }


@keras.saving.register_keras_serializable("gatefold")
class MaximumAndMean(layers.Layer):
    """Maximum and mean over time, interleaved by channel: [batch, frames, c] to [batch, 2 c]."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Pools in the order in which the checkpoint's next layer expects its values."""
        pooled = ops.stack([ops.max(x, axis=1), ops.mean(x, axis=1)], axis=-1)
        return ops.reshape(pooled, (-1, 2 * x.shape[-1]))
