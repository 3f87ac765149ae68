"""Writes the SavedModel of a release: sound in, genres out, all features computed in its graph.

The signatures are written by `keras.export.ExportArchive`, because a Keras 3 model saved with
`tf.saved_model.save` does not load in TF Serving.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.utils import io_utils

from components.audio.features import Feature
from components.audio.settings import AudioSettings
from components.common import bands
from components.common.labels import genre_index
from components.trainer.release.folding import folded
from components.trainer.release.genre_graph import Branch, GenreGraph, Standardisation
from components.trainer.release.warmup import write_warmup_requests

GENRES_FILE = "assets/genres.txt"


def standardisation(
    transform_layer: keras.layers.Layer, feature: Feature, settings: AudioSettings
) -> Standardisation:
    """Reads a feature's statistics from Transform's graph, which adds them to every example.

    Args:
      transform_layer: `TFTransformOutput.transform_features_layer()`.
      feature: A standardised feature that it computes.
      settings: The analysis settings.
    """
    silence = tf.constant([[b"\0\0" * settings.minimum_samples]])
    transformed = transform_layer({"audio": silence})
    return Standardisation(
        transformed[f"{feature.name}_mean"][0].numpy(),
        transformed[f"{feature.name}_std"][0].numpy(),
    )


def write_release(
    folder: str,
    branches: Sequence[Branch],
    *,
    settings: AudioSettings,
    genres: Sequence[str],
    transforms: Mapping[str, tft.TFTransformOutput],
    serving_name: str,
    temperature: float = 1.0,
) -> None:
    """Writes the SavedModel, its genre names and its warmup requests.

    Args:
      folder: The folder to write to; a URI that TensorFlow can write to.
      branches: The network, or the ensemble's networks.
      settings: The analysis settings.
      genres: Names in label order.
      transforms: Output of the Transform that computes each feature that a branch reads, by name
        of the feature; the signatures that take examples use its layer. Each holds the schema of
        the raw examples.
      serving_name: Name under which the model will be served.
      temperature: Divides the logarithms of all probabilities that are served, see `GenreGraph`.
    """
    branches = [dataclasses.replace(branch, network=folded(branch.network)) for branch in branches]
    features = {branch.feature.name: branch.feature for branch in branches}
    layers = {name: transforms[name].transform_features_layer() for name in features}
    statistics = {
        name: standardisation(layers[name], feature, settings)
        for name, feature in features.items()
        if feature.standardised
    }
    raw_schema = next(iter(transforms.values())).raw_metadata.schema
    graph = GenreGraph(
        branches, settings=settings, genres=genres, statistics=statistics, temperature=temperature
    )
    of_examples = _ExampleFunctions(graph, tuple(genres), layers, raw_schema)
    examples = tf.TensorSpec([None], tf.string, name="examples")
    audio = tf.TensorSpec([None, None], tf.float32, name="audio")
    rates = tf.TensorSpec([None], tf.int32, name="sample_rate_hz")
    wav = tf.TensorSpec([None], tf.string, name="wav")

    archive = keras.export.ExportArchive()
    for resource in (*(branch.network for branch in branches), *layers.values()):
        archive.track(resource)
    archive.add_endpoint("serving_default", of_examples.classify, [examples])
    archive.add_endpoint("classify_audio", graph.from_sound, [audio])
    archive.add_endpoint("classify_audio_at_rate", graph.from_sound_at_rate, [audio, rates])
    archive.add_endpoint("classify_wav", graph.from_wav, [wav])
    archive.add_endpoint("transform_features", of_examples.transform, [examples])
    archive.add_endpoint("labels", of_examples.labels, [examples])
    archive.write_out(folder, verbose=False)
    io_utils.write_string_file(f"{folder}/{GENRES_FILE}", "".join(f"{name}\n" for name in genres))
    write_warmup_requests(folder, model_name=serving_name, raw_schema=raw_schema, settings=settings)


@dataclasses.dataclass(frozen=True)
class _ExampleFunctions:
    """The functions behind the signatures that read raw examples, string [batch]."""

    graph: GenreGraph
    genres: tuple[str, ...]
    transform_layers: Mapping[str, keras.layers.Layer]
    raw_schema: schema_pb2.Schema

    def classify(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies raw examples.

        Returns:
          `probabilities` float32 [batch, genres], and `genres` string [batch, genres].
        """
        matrices = self._transformed(self._parsed(examples, ["audio"]))
        frames = {name: matrices[f"{name}_frames"] for name in self.transform_layers}
        outputs = self.graph.from_features(matrices, frames)
        return {key: outputs[key] for key in ("probabilities", "genres")}

    def transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """All outputs of Transform."""
        return self._transformed(self._parsed(examples))

    def labels(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The label, and the names of the slices that the example belongs to."""
        raw = self._parsed(examples, ["genre", "rms_db", "bandwidth_hz", "source_sample_rate_hz"])
        rate = tf.strings.as_string(raw["source_sample_rate_hz"][:, 0])
        return {
            "label": genre_index(raw["genre"][:, 0], self.genres),
            bands.LOUDNESS_SLICE: _band(raw["rms_db"][:, 0], bands.LOUDNESS),
            bands.BANDWIDTH_SLICE: _band(raw["bandwidth_hz"][:, 0], bands.BANDWIDTH),
            bands.RATE_SLICE: tf.strings.join([rate, " Hz"]),
        }

    def _parsed(
        self, examples: tf.Tensor, names: Sequence[str] | None = None
    ) -> dict[str, tf.Tensor]:
        spec = schema_utils.schema_as_feature_spec(self.raw_schema).feature_spec
        return tf.io.parse_example(examples, {name: spec[name] for name in names or spec})

    def _transformed(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = {}
        for transform_layer in self.transform_layers.values():
            outputs |= transform_layer(raw)
        return outputs


def _band(values: tf.Tensor, table: bands.Bands) -> tf.Tensor:
    """`Bands.name` in the graph, string [batch]."""
    index = tf.searchsorted(tf.constant(table.edges, tf.float32), values, side="right")
    return tf.gather(tf.constant(table.names), index)
