"""A SavedModel as a function from sound to probabilities, loaded once."""

import dataclasses

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from components.common.errors import UserError

SIGNATURE = "classify_audio"
_GENRES_FILE = "assets/genres.txt"


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model says of a batch of sounds.

    Attributes:
      probabilities: float32 [batch, genres].
      window_probabilities: float32 [batch, windows, genres]; all windows count.
    """

    probabilities: np.ndarray
    window_probabilities: np.ndarray


class Classifier:
    """The signature `classify_audio` of a SavedModel.

    Attributes:
      genres: Names in label order.
    """

    def __init__(self, folder: str):
        """Loads a model.

        Args:
          folder: The SavedModel; a path or a URI that TensorFlow can read.

        Raises:
          UserError: It cannot be loaded, or lacks the signature or the genre names.
        """
        try:
            self._model = tf.saved_model.load(folder)  # owns the variables that are called below
            self._signature = self._model.signatures[SIGNATURE]
            with fileio.open(f"{folder}/{_GENRES_FILE}", "r") as file:
                self.genres = tuple(file.read().splitlines())
        # A damaged file shows as one of many errors: parse errors, missing keys, tf.errors.
        except Exception as error:
            raise UserError(
                f"the model in {folder} cannot be loaded ({_first_line(error)}): it is damaged, or "
                "no release of this pipeline. Delete the folder and run again."
            ) from error

    def __call__(self, sounds: np.ndarray) -> Outputs:
        """Classifies sounds of equal length.

        Args:
          sounds: float32 [batch, samples], at the model's sample rate.

        Raises:
          tf.errors.OpError: The model refuses the sounds.
        """
        outputs = self._signature(audio=tf.constant(sounds))
        return Outputs(
            probabilities=outputs["probabilities"].numpy(),
            window_probabilities=outputs["window_probabilities"].numpy(),
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
