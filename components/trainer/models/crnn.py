"""The convolutional recurrent network."""

from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import (
    SPECTROGRAM_AUGMENTATION,
    ModelSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    import keras


def build(*, feature: Feature, genre_count: int, settings: ModelSettings) -> "keras.Model":
    """Convolutions that shrink frequency faster than time, then a GRU in both directions.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> log_mel = feature("log_mel", AudioSettings())
      >>> build(feature=log_mel, genre_count=10, settings=ModelSettings()).output_shape
      (None, 10)
    """
    import keras
    from keras import layers

    from components.trainer.parts.normalisation import FusedBatchNormalization
    from components.trainer.parts.pooling import mean_and_maximum

    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Reshape((*window.shape[1:], 1))(window)
    for channels, kernel, strides, pool in (
        (32, 5, 2, (1, 2)),
        (64, 3, 1, (2, 2)),
        (96, 3, 1, (2, 2)),
        (128, 3, 1, (1, 2)),
    ):
        channels = max(1, round(channels * settings.width))
        x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = FusedBatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPooling2D(pool)(x)
    frames, bands, channels = x.shape[1:]
    x = layers.Reshape((frames, bands * channels))(x)
    x = layers.Dropout(settings.dropout)(x)
    units = max(1, round(64 * settings.width))
    x = layers.Bidirectional(layers.GRU(units, return_sequences=True))(x)
    x = layers.Dropout(settings.dropout)(mean_and_maximum(x))
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name="crnn")


ENTRY = ModelEntry(
    name="crnn",
    feature="log_mel",
    build=build,
    recommended=TrainingSettings(augmentation=SPECTROGRAM_AUGMENTATION, epochs=80),
    least_mel_bins=31,  # with fewer, the poolings leave nothing
)
