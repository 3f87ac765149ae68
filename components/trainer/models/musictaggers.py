"""musictaggers: all four networks of Pons and Serra side by side, and one head for genres."""

import dataclasses
from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.models import musicnn, musicvgg
from components.trainer.settings import (
    FROZEN_MUSIC_BODY,
    MUSIC_TAGGERS,
    NO_WEIGHTS,
    ModelSettings,
)
from components.trainer.weight_sources import MusicnnPackage, published_checkpoint

if TYPE_CHECKING:
    import keras

# By how much a head's standardised inputs are multiplied, so that the penalty on its weights is
# four times as large on those of the networks that learnt from MagnaTagATune: on real sound they
# tell genres worse (docs/notes/experiments.md).
_SHARES = {"MSD_musicnn": 1.0, "MSD_vgg": 1.0, "MTT_musicnn": 0.5, "MTT_vgg": 0.5}


def build(*, feature: Feature, genre_count: int, settings: ModelSettings) -> "keras.Model":
    """The four networks below their tags, each on the same window, and a linear head on all."""
    import keras
    from keras import layers

    from components.trainer.parts.heads import BODY, load_body, pretrained

    window = keras.Input(feature.window_shape, name=feature.name)
    outputs, shares = [], []
    for checkpoint, share in _SHARES.items():
        network = musicvgg if checkpoint.endswith("vgg") else musicnn
        below, published = network.tagger(checkpoint).body(feature, name=checkpoint.lower())
        if settings.weights == MUSIC_TAGGERS:
            published.load(published_checkpoint(checkpoint))
        outputs.append(below(window))
        shares += [share] * below.output_shape[-1]
    body = keras.Model(window, layers.Concatenate(name="below_all_tags")(outputs), name=BODY)
    if settings.weights not in (MUSIC_TAGGERS, NO_WEIGHTS):
        load_body(body, settings.weights, model_name="musictaggers")
    return pretrained(
        "musictaggers", body, genre_count=genre_count, settings=settings, shares=shares
    )


ENTRY = ModelEntry(
    name="musictaggers",
    feature="music_mel",
    build=build,
    recommended=dataclasses.replace(
        FROZEN_MUSIC_BODY,
        model=dataclasses.replace(FROZEN_MUSIC_BODY.model, weights=MUSIC_TAGGERS),
    ),
    weights=MusicnnPackage(MUSIC_TAGGERS),
)
