"""The released SavedModel: sound in, genres out, every feature computed in its graph.

The four signatures of DESIGN.md are written by `keras.export.ExportArchive`, because a Keras 3
model saved with `tf.saved_model.save` does not load in TF Serving's loader.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.dsl.io import fileio

from components.audio import extraction
from components.audio.features import Feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.trainer.warmup import write_warmup_requests

GENRES_FILE = "assets/genres.txt"


@dataclasses.dataclass(frozen=True)
class Branch:
    """A network and what it reads.

    Attributes:
      network: From one window [batch, window_frames, bins] to probabilities [batch, genres].
      feature: The feature that its windows are cut from.
    """

    network: keras.Model
    feature: Feature


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """Full-pass statistics of one feature on the training split: float32 vectors [bins]."""

    mean: np.ndarray
    deviation: np.ndarray


def standardisation(
    transform_layer: keras.layers.Layer, described: Feature, settings: AudioSettings
) -> Standardisation:
    """Reads the statistics back from Transform's graph, which emits them with every example.

    Args:
      transform_layer: `TFTransformOutput.transform_features_layer()`.
      described: A standardised feature that it computes.
      settings: The analysis settings.
    """
    silence = tf.constant([[b"\0\0" * settings.clip_samples]])
    transformed = transform_layer({"audio": silence})
    return Standardisation(
        transformed[f"{described.name}_mean"][0].numpy(),
        transformed[f"{described.name}_std"][0].numpy(),
    )


class GenreGraph:
    """The graph functions behind the signatures.

    With several branches, a window's probabilities are the mean of the branches'.
    """

    def __init__(
        self,
        branches: Sequence[Branch],
        *,
        settings: AudioSettings,
        genres: Sequence[str],
        statistics: Mapping[str, Standardisation],
    ):
        """Prepares the functions; nothing is traced yet.

        Args:
          branches: One for a single model, several for an ensemble.
          settings: The analysis settings.
          genres: Names in label order.
          statistics: Of every standardised feature that a branch reads.
        """
        self._branches = tuple(branches)
        self._settings = settings
        self._genres = tuple(genres)
        self._statistics = dict(statistics)

    def from_features(self, matrices: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Genres of transformed features.

        Args:
          matrices: By name, standardised where the feature is, float32 [batch, frames, bins].

        Returns:
          `probabilities` float32 [batch, genres], `genres` string [batch, genres] (names in the
          same order) and `window_probabilities` float32 [batch, windows, genres].
        """
        outputs = [self._of_branch(branch, matrices) for branch in self._branches]
        # Features differ slightly in the length of a window; only in long sound does one of them
        # fit a window more than another.
        shared = tf.reduce_min([tf.shape(output)[1] for output in outputs])
        windows = tf.add_n([output[:, :shared] for output in outputs]) / len(outputs)
        probabilities = tf.reduce_mean(windows, axis=1)
        return {
            "probabilities": probabilities,
            "genres": tf.tile([self._genres], [tf.shape(probabilities)[0], 1]),
            "window_probabilities": windows,
        }

    def from_sound(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Genres of sound of one length, from one window up.

        Args:
          audio: float32 [batch, samples] in [-1, 1], at the settings' sample rate.

        Returns:
          As `from_features`.

        Raises:
          InvalidArgumentError: Sound is under a window long, or a sample is NaN or infinite.
        """
        needed = self._settings.minimum_samples
        long_enough = tf.debugging.Assert(
            tf.shape(audio)[1] >= needed,
            [
                f"audio is too short: at least {needed} samples "
                f"({self._settings.window_seconds:g} s at {self._settings.sample_rate_hz} Hz) "
                "are needed. Received samples:",
                tf.shape(audio)[1],
            ],
        )
        finite = tf.debugging.Assert(
            tf.reduce_all(tf.math.is_finite(audio)), ["audio holds NaN or infinite samples"]
        )
        with tf.control_dependencies([op for op in (long_enough, finite) if op is not None]):
            audio = tf.identity(audio)
        names = list(dict.fromkeys(branch.feature.name for branch in self._branches))
        matrices = extraction.extract(names, audio, self._settings)
        for name, statistics in self._statistics.items():
            matrices[name] = extraction.standardise(
                matrices[name], tf.constant(statistics.mean), tf.constant(statistics.deviation)
            )
        return self.from_features(matrices)

    def from_wav(self, wav: tf.Tensor) -> dict[str, tf.Tensor]:
        """Genres of PCM WAV files, each by itself, so that their lengths may differ.

        Args:
          wav: string [batch]: 16-bit PCM files at the settings' sample rate, any channel count.

        Returns:
          As `from_features`; rows of `window_probabilities` beyond a file's end are zero.

        Raises:
          InvalidArgumentError: Not such a file, another sample rate, or too short.
        """
        windows = tf.map_fn(
            lambda data: self.from_sound(self._decode_wav(data))["window_probabilities"][0],
            wav,
            fn_output_signature=tf.RaggedTensorSpec([None, len(self._genres)], tf.float32, 0),
        )
        probabilities = tf.ensure_shape(tf.reduce_mean(windows, axis=1), [None, len(self._genres)])
        return {
            "probabilities": probabilities,
            "genres": tf.tile([self._genres], [tf.shape(wav)[0], 1]),
            "window_probabilities": windows.to_tensor(shape=[None, None, len(self._genres)]),
        }

    def _decode_wav(self, data: tf.Tensor) -> tf.Tensor:
        channels, rate = tf.audio.decode_wav(data)
        expected = self._settings.sample_rate_hz
        right_rate = tf.debugging.Assert(
            tf.equal(rate, expected),
            [
                f"the WAV must have a sample rate of {expected} Hz: resample it first, as "
                "serving.client does. Received:",
                rate,
            ],
        )
        with tf.control_dependencies([right_rate] if right_rate is not None else []):
            return tf.reduce_mean(channels, axis=1)[tf.newaxis]

    def _of_branch(self, branch: Branch, matrices: Mapping[str, tf.Tensor]) -> tf.Tensor:
        matrix = matrices[branch.feature.name]
        windows = extraction.cut_windows(matrix, branch.feature.window_frames)
        shape = tf.shape(windows)
        flat = tf.reshape(windows, [-1, *branch.feature.window_shape])
        probabilities = tf.cast(branch.network(flat, training=False), tf.float32)
        return tf.reshape(probabilities, [shape[0], shape[1], len(self._genres)])


def write_saved_model(
    folder: str,
    branches: Sequence[Branch],
    *,
    settings: AudioSettings,
    genres: Sequence[str],
    transforms: Mapping[str, tft.TFTransformOutput],
    raw_schema: schema_pb2.Schema,
) -> None:
    """Writes the release.

    Args:
      folder: Where to; a URI that TensorFlow can write to.
      branches: The network, or the ensemble's networks.
      settings: The analysis settings.
      genres: Names in label order.
      transforms: By name of every feature that a branch reads, the graph of the Transform that
        computes it; the signatures on examples use its layer.
      raw_schema: The schema of raw examples.
    """
    features = {branch.feature.name: branch.feature for branch in branches}
    transform_layers = {name: transforms[name].transform_features_layer() for name in features}
    graph = GenreGraph(
        branches,
        settings=settings,
        genres=genres,
        statistics={
            name: standardisation(transform_layers[name], described, settings)
            for name, described in features.items()
            if described.standardised
        },
    )
    raw_spec = schema_utils.schema_as_feature_spec(raw_schema).feature_spec

    def transformed(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = {}
        for transform_layer in transform_layers.values():
            outputs |= transform_layer(raw)
        return outputs

    def classify_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, {"audio": raw_spec["audio"]})
        outputs = graph.from_features(transformed(raw))
        return {key: outputs[key] for key in ("probabilities", "genres")}

    def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return transformed(tf.io.parse_example(examples, raw_spec))

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
    archive.write_out(folder, verbose=False)
    genres_file = f"{folder}/{GENRES_FILE}"
    fileio.makedirs(genres_file.rpartition("/")[0])
    with fileio.open(genres_file, "w") as file:
        file.write("".join(f"{genre}\n" for genre in genres))


def write_release(
    folder: str,
    branches: Sequence[Branch],
    *,
    settings: AudioSettings,
    transforms: Mapping[str, tft.TFTransformOutput],
    serving_name: str,
) -> None:
    """Writes the SavedModel of GTZAN's genres and its warmup requests.

    Args:
      folder: Where to; a URI that TensorFlow can write to.
      branches: The network, or the ensemble's networks.
      settings: The analysis settings.
      transforms: As `write_saved_model`'s. All of them know the raw examples' schema.
      serving_name: Name under which it will be served.
    """
    raw_schema = next(iter(transforms.values())).raw_metadata.schema
    write_saved_model(
        folder,
        branches,
        settings=settings,
        genres=GENRES,
        transforms=transforms,
        raw_schema=raw_schema,
    )
    write_warmup_requests(folder, model_name=serving_name, raw_schema=raw_schema, settings=settings)
