"""Networks that read a window frame by frame: the LSTM and the convolutional recurrent network."""

import keras
from keras import layers

from components.audio.features import Feature
from components.trainer.settings import ModelSettings


def build(name: str, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
    """`lstm` reads MFCC, `crnn` a log-mel spectrogram."""
    window = keras.Input(feature.window_shape, name=feature.name)
    x = _lstm(window, settings) if name == "lstm" else _crnn(window, settings)
    x = layers.Dropout(settings.dropout)(x)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name=name)


def _lstm(window: keras.KerasTensor, settings: ModelSettings) -> keras.KerasTensor:
    """Two LSTM layers; all frames' outputs are pooled, so that the last one need not carry all.

    Dropout stands between the layers rather than within them, where it would leave the seed of
    its recurrent masks as state in the exported graph.
    """
    units = max(1, round(96 * settings.width))
    x = layers.LSTM(units, return_sequences=True)(window)
    x = layers.Dropout(settings.dropout)(x)
    x = layers.LSTM(units, return_sequences=True)(x)
    return _mean_and_maximum(x)


def _crnn(window: keras.KerasTensor, settings: ModelSettings) -> keras.KerasTensor:
    """Convolutions that shrink frequency faster than time, then a GRU in both directions."""
    x = layers.Reshape((*window.shape[1:], 1))(window)
    for channels, kernel, strides, pool in (
        (32, 5, 2, (1, 2)),
        (64, 3, 1, (2, 2)),
        (96, 3, 1, (2, 2)),
        (128, 3, 1, (1, 2)),
    ):
        channels = max(1, round(channels * settings.width))
        x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPooling2D(pool)(x)
    frames, bands, channels = x.shape[1:]
    x = layers.Reshape((frames, bands * channels))(x)
    x = layers.Dropout(settings.dropout)(x)
    units = max(1, round(64 * settings.width))
    x = layers.Bidirectional(layers.GRU(units, return_sequences=True))(x)
    return _mean_and_maximum(x)


def _mean_and_maximum(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate()(
        [layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)]
    )
