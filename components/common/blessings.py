"""Writes a ModelBlessing as TFX's nodes expect it.

In `common` because Gate blesses every model and ModelSelector the chosen one.
"""

from tfx.components.evaluator import constants
from tfx.dsl.io import fileio
from tfx.types import Artifact
from tfx.utils import io_utils


def write(blessing: Artifact, *, blessed: bool, model: str) -> None:
    """Marks the artifact, and writes a file into it that names the model.

    Args:
      blessing: A `ModelBlessing` artifact.
      blessed: Whether the model may be released.
      model: Its name; the file must not be empty, because object stores drop empty files.
    """
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    fileio.makedirs(blessing.uri)
    io_utils.write_string_file(f"{blessing.uri}/{name}", model)
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
