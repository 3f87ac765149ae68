"""A pushed model in this process, without a server."""

import logging
import os
import pathlib
import warnings

import numpy as np

from components.audio import codec
from components.common.errors import UserError
from serving.client import GenrePrediction, songs
from serving.client.genre_client import classify_parts
from serving.client.releases import read_release
from serving.client.results import Answer


class LocalModel:
    """One version's SavedModel, loaded by TensorFlow. Safe to use from several threads.

    Attributes:
      folder: The version's folder, `…/<model>/<version>`.
      release: What it says of itself.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Loads the version, which takes some seconds.

        Raises:
          UserError: It cannot be loaded, or is no model of genres.
        """
        tf = _import_tensorflow()
        self.folder = folder
        self.release = read_release(folder)
        try:
            self._loaded = tf.saved_model.load(str(folder))
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

    def _ask(self, part: np.ndarray, _version: int | None) -> Answer:
        import tensorflow as tf

        wav = codec.encode_wav(part, songs.SETTINGS.sample_rate_hz)
        try:
            outputs = self._classify_wav(wav=tf.constant([wav]))
        except self._errors as error:
            raise UserError(str(error.message).splitlines()[0]) from error
        return Answer(
            model=self.folder.parent.name,
            version=self.release.version,
            genres=tuple(genre.decode() for genre in outputs["genres"].numpy()[0]),
            probabilities=outputs["probabilities"].numpy()[0],
            window_probabilities=outputs["window_probabilities"].numpy()[0],
            temperature=float(outputs["temperature"].numpy()[0])
            if "temperature" in outputs
            else 1.0,
        )


def _import_tensorflow():  # type: ignore[no-untyped-def]
    """TensorFlow, without its notes on how it was compiled."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Google's packages announce the end of Python 3.10
        import tensorflow as tf

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf
