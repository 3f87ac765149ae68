"""musicvgg: the VGG that Pons and Serra trained to tag music, and a head for genres."""

from typing import TYPE_CHECKING, Any

from components.trainer.model_entry import ModelEntry
from components.trainer.settings import FROZEN_MUSIC_BODY
from components.trainer.weight_sources import MusicnnPackage

if TYPE_CHECKING:
    import keras

    from components.trainer.parts.published import PublishedLayers, PublishedTagger


def tagger(checkpoint: str = "MSD_vgg") -> "PublishedTagger":
    """The published network, with the weights of one of the package's checkpoints."""
    from components.trainer.parts.published import PublishedTagger

    return PublishedTagger("musicvgg", checkpoint, _layers_below_tags)


def build(**arguments: Any) -> "keras.Model":
    """See `PublishedTagger.build`.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> from components.trainer.settings import ModelSettings
      >>> music_mel = feature("music_mel", AudioSettings())
      >>> build(feature=music_mel, genre_count=10, settings=ModelSettings()).output_shape
      (None, 10)
    """
    return tagger().build(**arguments)


def _layers_below_tags(x: "keras.KerasTensor", published: "PublishedLayers") -> "keras.KerasTensor":
    """Five convolutions with pooling between them: float32 [batch, 256]."""
    from keras import layers

    pools = [((4, 1), 2), (2, 2), (2, 2), (2, 2), (4, 4)]
    for number, (size, strides) in enumerate(pools, start=1):
        layer = layers.Conv2D(128, 3, padding="same", activation="relu", name=f"conv_{number}")
        published.linear(layer, f"{number}CNN")
        x = published.normalise(layer(x), f"batch_normalization_{number}")
        x = layers.MaxPooling2D(size, strides)(x)
    return layers.Flatten()(x)


ENTRY = ModelEntry(
    name="musicvgg",
    feature="music_mel",
    build=build,
    recommended=FROZEN_MUSIC_BODY,
    weights=MusicnnPackage(),
)
