"""A pretrained network of the user's own, in a SavedModel, and a head for genres."""

import dataclasses
from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import FROZEN_MUSIC_BODY, SAVED_MODEL, ModelSettings
from components.trainer.weight_sources import SavedModelFolder

if TYPE_CHECKING:
    import keras


def build(*, feature: Feature, genre_count: int, settings: ModelSettings) -> "keras.Model":
    """The mean embedding of a window's sound, and a linear head on it.

    The body is the SavedModel in the folder `settings.weights`; there is none without it.
    """
    import keras
    from keras import layers

    from components.trainer.parts.heads import BODY, pretrained
    from components.trainer.parts.sound_embedding import SoundEmbedding

    window = keras.Input(feature.window_shape, name=feature.name)
    samples = feature.window_frames * feature.bins
    embedding = SoundEmbedding(settings.weights)(layers.Reshape((samples,))(window))
    body = keras.Model(window, embedding, name=BODY)
    return pretrained("embedding", body, genre_count=genre_count, settings=settings)


ENTRY = ModelEntry(
    name="embedding",
    feature="waveform",
    build=build,
    recommended=dataclasses.replace(
        FROZEN_MUSIC_BODY,
        model=dataclasses.replace(FROZEN_MUSIC_BODY.model, weights=SAVED_MODEL),
    ),
    weights=SavedModelFolder(),
)
