"""The convolutional network, sized for about a thousand tracks."""

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
    """Convolutions over a log-mel window, pooled by mean and maximum.

    Resolution falls fast: a quarter of it is gone before the first broad layer, which makes an
    epoch of a thousand tracks cheap enough for a laptop. Both poolings go to the last layer: the
    mean says how much of a pattern a window holds, the maximum whether it occurs at all.

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

    def convolution(
        x: keras.KerasTensor, channels: int, *, kernel: int = 3, stride: int = 1
    ) -> keras.KerasTensor:
        channels = max(1, round(channels * settings.width))
        x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False)(x)
        x = FusedBatchNormalization(momentum=0.9)(x)
        return layers.Activation("relu")(x)

    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Reshape((*feature.window_shape, 1))(window)
    x = layers.MaxPooling2D(2)(convolution(x, 32, kernel=5, stride=2))
    for channels in (48, 96):
        x = layers.MaxPooling2D(2)(convolution(x, channels))
    x = convolution(x, 192)
    pooled = layers.Concatenate()(
        [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    )
    x = layers.Dropout(settings.dropout)(pooled)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name="cnn")


ENTRY = ModelEntry(
    name="cnn",
    feature="log_mel",
    build=build,
    recommended=TrainingSettings(augmentation=SPECTROGRAM_AUGMENTATION),
    least_mel_bins=15,  # with fewer, the poolings leave nothing
)
