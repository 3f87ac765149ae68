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
class FrameSteps(layers.Layer):
    """Steps of a few frames each, described by four statistics of every coefficient.

    They are the mean, the standard deviation, the change of the mean since the step before (delta;
    zero in the first step), and the mean less that of the whole window. The last is cepstral mean
    normalisation (Atal, 1974): a constant in the cepstrum, as of another microphone or mastering,
    does not change it. Frames left over at the end are dropped.

    Args:
      frames: Frames that make one step.

    Input float32 [batch, time, c]; output float32 [batch, time // frames, 4 c], in that order.
    """

    def __init__(self, frames: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Pools over time."""
        time, channels = x.shape[1:]
        steps = time // self.frames
        x = ops.reshape(x[:, : steps * self.frames], (-1, steps, self.frames, channels))
        means = ops.mean(x, axis=2)
        variances = ops.mean(ops.square(x - means[:, :, None]), axis=2)
        changes = ops.pad(means[:, 1:] - means[:, :-1], [[0, 0], [1, 0], [0, 0]])
        relative = means - ops.mean(means, axis=1, keepdims=True)
        deviations = ops.sqrt(variances + _LEAST_VARIANCE)
        return ops.concatenate([means, deviations, changes, relative], axis=2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "frames": self.frames}
