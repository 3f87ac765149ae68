"""Pooling over time that several models share."""

import keras
from keras import layers


def mean_and_maximum(x: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and maximum over time: [batch, frames, c] to [batch, 2 c]."""
    return layers.Concatenate()(
        [layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)]
    )
