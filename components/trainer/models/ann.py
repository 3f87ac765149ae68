"""Dense layers on a window's descriptors."""

from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import AugmentationSettings, ModelSettings, TrainingSettings

if TYPE_CHECKING:
    import keras


def build(*, feature: Feature, genre_count: int, settings: ModelSettings) -> "keras.Model":
    """Two hidden layers with dropout before each: there are few tracks and many descriptors.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> descriptors = feature("descriptors", AudioSettings())
      >>> build(feature=descriptors, genre_count=10, settings=ModelSettings()).output_shape
      (None, 10)
    """
    import keras
    from keras import layers

    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Flatten()(window)
    for units in (256, 128):
        x = layers.Dropout(settings.dropout)(x)
        x = layers.Dense(max(1, round(units * settings.width)), use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
    x = layers.Dropout(settings.dropout)(x)
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name="ann")


ENTRY = ModelEntry(
    name="ann",
    feature="descriptors",
    build=build,
    recommended=TrainingSettings(
        model=ModelSettings(dropout=0.5),
        augmentation=AugmentationSettings(noise=0.3, mixup=0.2),
        epochs=100,
        batch_size=128,
        windows_per_track=10,
        patience=25,
    ),
)
