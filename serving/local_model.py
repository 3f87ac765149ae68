"""A pushed model in this process, without a server."""

import logging
import os
import pathlib
import warnings

import numpy as np

from components.audio import codec
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from serving.client import GenrePrediction, songs
from serving.client.genre_client import classify_parts
from serving.client.results import Answer


class LocalModel:
    """One version's SavedModel, loaded by TensorFlow. Safe to use from several threads.

    Attributes:
      release: What the version says of itself.
    """

    def __init__(self, store: ReleaseStore, version: int) -> None:
        """Loads a version, which takes some seconds.

        Raises:
          UserError: It cannot be loaded, or is no model of genres.
        """
        tf = _import_tensorflow()
        folder = store.folder(version)
        self._name = pathlib.PurePath(store.base).name
        self.release = store.release(version)
        try:
            self._loaded = tf.saved_model.load(folder)
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the model in {folder} cannot be loaded: {reason}") from error
        self._classify_wav = self._loaded.signatures.get("classify_wav")
        if self._classify_wav is None:
            raise UserError(f"the model in {folder} has no signature classify_wav")
        self._errors = tf.errors.OpError

    def classify_file(self, path: pathlib.Path) -> GenrePrediction:
        """Genres of an audio file, as `GenreClient.classify_file` gives them.

        Raises:
          UserError: The file cannot be read, is no music of three seconds or more, or is silent.
        """
        return classify_parts(songs.file_parts(path), self._ask, name=str(path))

    def _ask(self, part: np.ndarray) -> Answer:
        import tensorflow as tf

        wav = codec.encode_wav(part, songs.SETTINGS.sample_rate_hz)
        try:
            outputs = self._classify_wav(wav=tf.constant([wav]))
        except self._errors as error:
            raise UserError(str(error.message).splitlines()[0]) from error
        values = {name: tensor.numpy()[0] for name, tensor in outputs.items()}
        return Answer.of(self._name, self.release.version, values)


def _import_tensorflow():  # type: ignore[no-untyped-def]
    """TensorFlow, without its notes on how it was compiled."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Google's packages announce the end of Python 3.10
        import tensorflow as tf

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf
