"""Dense layers on a window's descriptors."""

import keras
from keras import layers

from components.audio.features import Feature
from components.trainer.settings import ModelSettings


def build(name: str, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
    """Two hidden layers with dropout before each: there are few tracks and many descriptors."""
    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Flatten()(window)
    for units in (256, 128):
        x = layers.Dropout(settings.dropout)(x)
        x = layers.Dense(max(1, round(units * settings.width)), use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
    x = layers.Dropout(settings.dropout)(x)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name=name)
