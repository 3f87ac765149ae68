"""Networks for sound in SavedModels, with the signatures of those that TensorFlow Hub publishes.

The networks themselves are small and untrained: mel bands and one dense layer.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

RATE_HZ = 16_000
_BANDS = 32


def _embeddings(waveform, weights, part_seconds, hop_seconds):
    """One embedding for every part of the sound, which is filled up to a whole part."""
    part, hop = int(part_seconds * RATE_HZ), int(hop_seconds * RATE_HZ)
    parts = tf.signal.frame(waveform, part, hop, pad_end=True)
    spectrum = tf.abs(tf.signal.stft(parts, 512, 256))
    mel = spectrum @ tf.signal.linear_to_mel_weight_matrix(_BANDS, 257, RATE_HZ)
    return tf.tanh(tf.reduce_mean(tf.math.log(mel + 1e-3), axis=1) @ weights)


def _weights(units):
    return np.random.default_rng(0).normal(scale=0.3, size=(_BANDS, units)).astype(np.float32)


class Yamnet(tf.Module):
    """As tfhub.dev/google/yamnet/1: (scores, embeddings, log-mel spectrogram), and an asset."""

    def __init__(self, folder: Path, units: int):
        super().__init__()
        class_map = folder.parent / "yamnet_class_map.csv"
        class_map.write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
        self._asset = tf.saved_model.Asset(str(class_map))
        self._weights = tf.Variable(_weights(units))

    @tf.function(input_signature=[])
    def class_map_path(self):
        return self._asset.asset_path

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform):
        embeddings = _embeddings(waveform, self._weights, 0.96, 0.48)
        return embeddings[:, :1], embeddings, tf.abs(tf.signal.stft(waveform, 400, 160))


class Vggish(tf.Module):
    """As tfhub.dev/google/vggish/1: embeddings, by a TensorFlow 1 graph with its variables."""

    def __init__(self, units: int):
        super().__init__()
        self._variables = []

        def graph(waveform):
            weights = tf.compat.v1.get_variable("weights", initializer=_weights(units))
            return _embeddings(waveform, weights, 0.96, 0.96)

        self._function = tf.compat.v1.wrap_function(graph, [tf.TensorSpec([None], tf.float32)])
        self._variables = self._function.graph.variables

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform):
        return self._function(waveform)


class SignatureOnly(tf.Module):
    """A SavedModel that cannot be called, but by its signature."""

    def __init__(self, units: int):
        super().__init__()
        self._weights = tf.Variable(_weights(units))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
    def answer(self, waveform):
        embeddings = _embeddings(waveform, self._weights, 0.96, 0.48)
        return {"embeddings": embeddings, "scores": embeddings[:, :2]}


def save(kind: str, folder: Path, units: int = 6) -> str:
    """Writes the SavedModel of a kind, `yamnet`, `vggish` or `signature`; returns its folder."""
    if kind == "yamnet":
        network = Yamnet(folder, units)
        signatures = network.__call__.get_concrete_function()
    elif kind == "vggish":
        network, signatures = Vggish(units), None
    else:
        network = SignatureOnly(units)
        signatures = {"serving_default": network.answer}
    tf.saved_model.save(network, str(folder), signatures=signatures)
    return str(folder)
