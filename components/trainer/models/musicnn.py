"""musicnn: the music-tagging network of Pons and Serra (arXiv 1909.06654) and a head for genres."""

from typing import TYPE_CHECKING, Any

from components.trainer.model_entry import ModelEntry
from components.trainer.settings import FROZEN_MUSIC_BODY
from components.trainer.weight_sources import MusicnnPackage

if TYPE_CHECKING:
    import keras

    from components.trainer.parts.published import PublishedLayers, PublishedTagger


def tagger(checkpoint: str = "MSD_musicnn") -> "PublishedTagger":
    """The published network, with the weights of one of the package's checkpoints."""
    from components.trainer.parts.published import PublishedTagger

    return PublishedTagger("musicnn", checkpoint, _layers_below_tags)


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
    """Timbral and temporal filters, three residual layers over time, pooled, and a dense layer.

    ReLU comes before normalisation throughout, as in the published network. A head reads both the
    pooled values, which are rich, and those of the dense layer, which are nearest to the tags and
    so to genres.

    Returns:
      float32 [batch, 1506 + 200].
    """
    from keras import layers

    from components.trainer.parts.filters import MaximumAndMean, PooledFilters

    x = layers.Reshape(x.shape[1:3])(x)
    front = []
    kernels = [(204, (7, 38)), (204, (7, 67)), (51, (128, 1)), (51, (64, 1)), (51, (32, 1))]
    for number, (channels, kernel) in enumerate(kernels):
        name = f"conv2d_{number}" if number else "conv2d"
        filters = PooledFilters(channels, kernel, name=name)
        published.normalised_filters(filters, name, f"batch_normalization_{number + 1}")
        front.append(filters(x))
    x = layers.Concatenate(name="front_end")(front)
    stages = [x]
    for number in (5, 6, 7):
        name = f"conv2d_{number}"
        layer = layers.Conv1D(64, 7, padding="same", activation="relu", name=name)
        published.linear(layer, name)
        residual = published.normalise(layer(x), f"batch_normalization_{number + 1}")
        x = residual if number == 5 else layers.Add(name=f"residual_{number}")([residual, x])
        stages.append(x)
    all_stages = layers.Concatenate(name="mid_end")(stages)
    pooled = published.normalise(MaximumAndMean(name="pooled")(all_stages), "batch_normalization_9")
    dense = published.linear(layers.Dense(200, activation="relu", name="dense"), "dense")
    nearest_to_tags = published.normalise(dense(pooled), "batch_normalization_10")
    return layers.Concatenate(name="below_the_tags")([pooled, nearest_to_tags])


ENTRY = ModelEntry(
    name="musicnn",
    feature="music_mel",
    build=build,
    recommended=FROZEN_MUSIC_BODY,
    weights=MusicnnPackage(),
)
