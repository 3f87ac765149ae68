"""A pushed model in this process, without a server."""

import logging
import os
import pathlib

from components.common import runtime
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from serving.client import GenrePrediction, songs
from serving.client.genre_client import classify_parts
from serving.client.results import Answer


class LocalModel:
    """One version's SavedModel, loaded by TensorFlow. Safe to use from several threads."""

    def __init__(self, store: ReleaseStore, version: int) -> None:
        """Loads a version, which takes some seconds.

        Raises:
          UserError: It cannot be loaded, or is no model of genres.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        runtime.quieten()
        import tensorflow as tf

        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        self._tf = tf
        self._name, self._version = pathlib.PurePath(store.base).name, version
        folder = store.folder(version)
        try:
            self._loaded = tf.saved_model.load(folder)
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the model in {folder} cannot be loaded: {reason}") from error
        self._classify_wav = self._loaded.signatures.get("classify_wav")
        if self._classify_wav is None:
            raise UserError(f"the model in {folder} has no signature classify_wav")

    def classify_file(self, path: pathlib.Path) -> GenrePrediction:
        """Genres of an audio file, as `GenreClient.classify_file` gives them.

        Raises:
          UserError: The file cannot be read, is no music of three seconds or more, or is silent.
        """
        # Releases before 2026-11-25 take their own rate only.
        any_rate = "classify_audio_at_rate" in self._loaded.signatures
        rate = None if any_rate else songs.SETTINGS.sample_rate_hz
        return classify_parts(
            songs.file_parts(path), self._ask, name=str(path), sample_rate_hz=rate
        )

    def _ask(self, wav: bytes) -> Answer:
        try:
            outputs = self._classify_wav(wav=self._tf.constant([wav]))
        except self._tf.errors.OpError as error:
            raise UserError(str(error.message).splitlines()[0]) from error
        values = {name: tensor.numpy()[0] for name, tensor in outputs.items()}
        return Answer(self._name, self._version, values)
