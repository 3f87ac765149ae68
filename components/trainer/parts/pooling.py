"""Pooling over time that several models share."""

from typing import Any

import keras
from keras import layers, ops

_LEAST_VARIANCE = 1e-4  # so that a constant stretch has a gradient


def mean_and_maximum(x: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and maximum over time: [batch, frames, c] to [batch, 2 c]."""
    return layers.Concatenate()(
        [layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)]
    )


@keras.saving.register_keras_serializable("gatefold")
class MeanAndDeviation(layers.Layer):
    """Mean and standard deviation of every few frames; frames left over at the end are dropped.

    Args:
      frames: Frames that make one step.

    Input float32 [batch, time, c]; output float32 [batch, time // frames, 2 c], means first.
    """

    def __init__(self, frames: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Pools over time."""
        time, channels = x.shape[1:]
        steps = time // self.frames
        stretches = ops.reshape(x[:, : steps * self.frames], (-1, steps, self.frames, channels))
        means = ops.mean(stretches, axis=2, keepdims=True)
        variances = ops.mean(ops.square(stretches - means), axis=2)
        deviations = ops.sqrt(variances + _LEAST_VARIANCE)
        return ops.concatenate([ops.squeeze(means, axis=2), deviations], axis=2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "frames": self.frames}
