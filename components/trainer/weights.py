"""Checks, before any training, that the weights that a model is to start from can be had.

Imports no Keras, so that the command line can check quickly.
"""

from pathlib import Path

from components.trainer.models import entry
from components.trainer.settings import (
    IMAGENET,
    MILLION_SONG,
    MUSIC_TAGGERS,
    NO_WEIGHTS,
    SAVED_MODEL,
)
from components.trainer.weight_sources import SavedModelFolder, WeightsError

__all__ = ["WeightsError", "check_weights"]

_TIMEOUT_SECONDS = 5.0
_PUBLISHED = (IMAGENET, MILLION_SONG, MUSIC_TAGGERS)
_SAVED_MODEL_FILE = "saved_model.pb"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def check_weights(name: str, weights: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
    """Checks that a model can start from given weights, so that no training fails late.

    Args:
      name: A name of the catalog.
      weights: `none`, `imagenet`, `msd`, `msd+mtt`, the path of a weights file or the folder of a
        SavedModel (one with `://` in it is only looked for when it is read).
      timeout_seconds: How long to wait for the server that has ImageNet's weights.

    Raises:
      WeightsError: The model cannot start from such weights, or they are out of reach.
    """
    source = entry(name).weights
    if entry(name).needs_saved_model:
        _check_saved_model(name, weights, timeout_seconds)
        return
    if weights == NO_WEIGHTS:
        return
    if source is None:
        raise WeightsError(
            f"{name} is trained from scratch: give it weights {NO_WEIGHTS!r}. Received: {weights!r}"
        )
    if weights == source.kind:
        source.check(name, timeout_seconds=timeout_seconds)
    elif weights in _PUBLISHED:
        raise WeightsError(
            f"{name} starts from {source.kind!r}, {NO_WEIGHTS!r} or a file. Received: {weights!r}"
        )
    elif "://" not in weights:
        _check_file(name, Path(weights))


def _check_saved_model(name: str, weights: str, timeout_seconds: float) -> None:
    if weights in (NO_WEIGHTS, *_PUBLISHED, SAVED_MODEL):
        SavedModelFolder().check(name, timeout_seconds=timeout_seconds)
    if "://" not in weights and not (Path(weights) / _SAVED_MODEL_FILE).is_file():
        raise WeightsError(
            f"--weights: the folder for {name} holds no SavedModel (no {_SAVED_MODEL_FILE}): "
            "unpack the archive, if it is one, and name the folder with that file. "
            f"Received: {weights!r}"
        )


def _check_file(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            signature = file.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(
            f"--weights: the file for {name} cannot be read ({error.strerror}): give another, or "
            f"{NO_WEIGHTS}. Received: {str(path)!r}"
        ) from error
    if signature != _HDF5_SIGNATURE:
        raise WeightsError(
            f"--weights: the file for {name} is not an HDF5 file, as Keras writes with "
            f"save_weights. Received: {str(path)!r}"
        )
