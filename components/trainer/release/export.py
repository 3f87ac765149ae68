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
from tfx.dsl.io import fileio

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


def write_saved_model(
    folder: str,
    branches: Sequence[Branch],
    *,
    settings: AudioSettings,
    genres: Sequence[str],
    transforms: Mapping[str, tft.TFTransformOutput],
    raw_schema: schema_pb2.Schema,
    temperature: float = 1.0,
) -> None:
    """Writes the SavedModel and its genre names.

    Args:
      folder: The folder to write to; a URI that TensorFlow can write to.
      branches: The network, or the ensemble's networks.
      settings: The analysis settings.
      genres: Names in label order.
      transforms: Output of the Transform that computes each feature that a branch reads, by name
        of the feature; the signatures that take examples use its layer.
      raw_schema: The schema of raw examples.
      temperature: Divides the logarithms of all probabilities that are served, see `GenreGraph`.
    """
    branches = [dataclasses.replace(branch, network=folded(branch.network)) for branch in branches]
    features = {branch.feature.name: branch.feature for branch in branches}
    transform_layers = {name: transforms[name].transform_features_layer() for name in features}
    graph = GenreGraph(
        branches,
        settings=settings,
        genres=genres,
        statistics={
            name: standardisation(transform_layers[name], feature, settings)
            for name, feature in features.items()
            if feature.standardised
        },
        temperature=temperature,
    )
    raw_spec = schema_utils.schema_as_feature_spec(raw_schema).feature_spec

    def transformed(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = {}
        for transform_layer in transform_layers.values():
            outputs |= transform_layer(raw)
        return outputs

    def classify_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, {"audio": raw_spec["audio"]})
        matrices = transformed(raw)
        frames = {name: matrices[f"{name}_frames"] for name in features}
        outputs = graph.from_features(matrices, frames)
        return {key: outputs[key] for key in ("probabilities", "genres")}

    def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return transformed(tf.io.parse_example(examples, raw_spec))

    def labels(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        read = ("genre", "rms_db", "bandwidth_hz", "source_sample_rate_hz")
        raw = tf.io.parse_example(examples, {name: raw_spec[name] for name in read})
        rate = tf.strings.as_string(raw["source_sample_rate_hz"][:, 0])
        return {
            "label": genre_index(raw["genre"][:, 0], genres),
            bands.LOUDNESS_SLICE: _band(raw["rms_db"][:, 0], bands.LOUDNESS),
            bands.BANDWIDTH_SLICE: _band(raw["bandwidth_hz"][:, 0], bands.BANDWIDTH),
            bands.RATE_SLICE: tf.strings.join([rate, " Hz"]),
        }

    strings = tf.TensorSpec([None], tf.string, name="examples")
    archive = keras.export.ExportArchive()
    for branch in branches:
        archive.track(branch.network)
    for transform_layer in transform_layers.values():
        archive.track(transform_layer)
    archive.add_endpoint("serving_default", classify_examples, [strings])
    archive.add_endpoint(
        "classify_audio", graph.from_sound, [tf.TensorSpec([None, None], tf.float32, name="audio")]
    )
    archive.add_endpoint(
        "classify_wav", graph.from_wav, [tf.TensorSpec([None], tf.string, name="wav")]
    )
    archive.add_endpoint("transform_features", transform_features, [strings])
    archive.add_endpoint("labels", labels, [strings])
    archive.write_out(folder, verbose=False)
    genres_file = f"{folder}/{GENRES_FILE}"
    fileio.makedirs(genres_file.rpartition("/")[0])
    with fileio.open(genres_file, "w") as file:
        file.write("".join(f"{genre}\n" for genre in genres))


def _band(values: tf.Tensor, table: bands.Bands) -> tf.Tensor:
    """`Bands.name` in the graph, string [batch]."""
    place = tf.searchsorted(tf.constant(table.edges, tf.float32), values, side="right")
    return tf.gather(tf.constant(table.names), place)


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
    """Writes the SavedModel and its warmup requests.

    Args:
      folder: The folder to write to; a URI that TensorFlow can write to.
      branches: The network, or the ensemble's networks.
      settings: The analysis settings.
      genres: Names in label order.
      transforms: As in `write_saved_model`. Each holds the schema of the raw examples.
      serving_name: Name under which the model will be served.
      temperature: As in `write_saved_model`.
    """
    raw_schema = next(iter(transforms.values())).raw_metadata.schema
    write_saved_model(
        folder,
        branches,
        settings=settings,
        genres=genres,
        transforms=transforms,
        raw_schema=raw_schema,
        temperature=temperature,
    )
    write_warmup_requests(folder, model_name=serving_name, raw_schema=raw_schema, settings=settings)
