"""The LSTM, which reads the MFCC of a window in their order."""

from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import AugmentationSettings, ModelSettings, TrainingSettings

if TYPE_CHECKING:
    import keras

# With every frame a step of its own, training takes longer and overfits.
_FRAMES_A_STEP = 4


def build(*, feature: Feature, genre_count: int, settings: ModelSettings) -> "keras.Model":
    """Two LSTM layers in both directions, which read statistics of four frames at a time.

    The outputs of all steps are pooled, so that the last need not carry all. Dropout stands between
    the layers rather than within them, where it would leave the seed of its recurrent masks as
    state in the exported graph.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> mfcc = feature("mfcc", AudioSettings())
      >>> build(feature=mfcc, genre_count=10, settings=ModelSettings()).output_shape
      (None, 10)
    """
    import keras
    from keras import layers

    from components.trainer.parts.pooling import FrameSteps, mean_and_maximum

    window = keras.Input(feature.window_shape, name=feature.name)
    units = max(1, round(96 * settings.width))
    x = FrameSteps(_FRAMES_A_STEP)(window)
    x = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(x)
    x = layers.Dropout(settings.dropout)(x)
    x = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(x)
    x = layers.Dropout(settings.dropout)(mean_and_maximum(x))
    probabilities = layers.Dense(genre_count, activation="softmax", dtype="float32")(x)
    return keras.Model(window, probabilities, name="lstm")


ENTRY = ModelEntry(
    name="lstm",
    feature="mfcc",
    build=build,
    recommended=TrainingSettings(
        augmentation=AugmentationSettings(
            noise=0.2,
            bin_offset=0.5,
            time_stretch=0.1,
            frequency_mask=0.1,
            time_mask=0.1,
            mixup=0.2,
        ),
        epochs=80,
    ),
    least_window_frames=_FRAMES_A_STEP,
)
