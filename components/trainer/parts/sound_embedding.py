"""A network from a SavedModel as a layer: sound at 16 kHz in, an embedding out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from components.audio.features.waveform import SAMPLE_RATE_HZ
from components.trainer.weight_sources import WeightsError

_TRIED_SECONDS = 3
_SIGNATURE = "serving_default"


@keras.saving.register_keras_serializable("gatefold")
class SoundEmbedding(layers.Layer):
    """The mean embedding of a sound, by a network that is never trained.

    The SavedModel is called as TensorFlow Hub's YAMNet and VGGish are: with a float32 [samples] at
    16 kHz in [-1, 1]. YAMNet answers with (scores, embeddings, log-mel spectrogram), VGGish with
    embeddings alone; both have a row for each part of the sound. The SavedModel's function is
    called where it can be, its signature `serving_default` otherwise.

    Args:
      folder: The SavedModel, a path or a URI that TensorFlow can read.

    Input float32 [batch, samples]; output float32 [batch, units].

    Raises:
      WeightsError: It cannot be loaded, or does not answer such a sound with embeddings.
    """

    def __init__(self, folder: str, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")  # what the SavedModel computes with
        super().__init__(trainable=False, **kwargs)
        self.folder = folder
        try:
            self._loaded = tf.saved_model.load(folder)
            self._network = _callable_of(self._loaded)
            tried = embeddings_of(self._network(tf.zeros([_TRIED_SECONDS * SAMPLE_RATE_HZ])))
        except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(
                "--weights: embedding needs a SavedModel that maps a 16 kHz waveform, float32 "
                f"[samples], to embeddings, as YAMNet and VGGish do: {reason}. Received: {folder!r}"
            ) from error
        self.units = int(tried.shape[1])

    def call(self, sounds: tf.Tensor) -> tf.Tensor:
        """The mean of each sound's embeddings."""

        def of_sound(sound: tf.Tensor) -> tf.Tensor:
            mean = tf.reduce_mean(embeddings_of(self._network(sound)), axis=0)
            return tf.ensure_shape(mean, [self.units])

        return tf.map_fn(
            of_sound, sounds, fn_output_signature=tf.TensorSpec([self.units], tf.float32)
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output's shape."""
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "folder": self.folder}


def embeddings_of(answer: Any) -> tf.Tensor:
    """Finds the embeddings, float32 [parts, units], in what a SavedModel answers.

    Args:
      answer: A tensor (VGGish), a sequence whose second element they are (YAMNet), or a dictionary
        with a key that speaks of embeddings, or of as many outputs in order.

    Raises:
      ValueError: They are not there, or of another shape.
    """
    if isinstance(answer, Mapping):
        spoken_of = [key for key in answer if "embedding" in key.lower()]
        answer = answer[spoken_of[0]] if spoken_of else [answer[key] for key in sorted(answer)]
    if isinstance(answer, Sequence):
        answer = answer[1] if len(answer) == 3 else answer[0]
    if not tf.is_tensor(answer) or answer.shape.rank != 2 or answer.dtype != tf.float32:
        raise ValueError(
            f"its answer has no embeddings of the form float32 [parts, units]. Received: {answer}"
        )
    return answer


def _callable_of(loaded: Any) -> Callable[[tf.Tensor], Any]:
    if callable(loaded):
        return loaded
    if _SIGNATURE not in loaded.signatures:
        raise ValueError(f"it can neither be called nor has it a signature {_SIGNATURE}")
    signature = loaded.signatures[_SIGNATURE]
    (name,) = signature.structured_input_signature[1]
    return lambda sound: signature(**{name: sound})
