"""Checks, before any work, that a model can have the sound features and the weights it needs.

Imports no Keras, so that the command line can check quickly.
"""

from pathlib import Path

from components.audio.settings import AudioSettings
from components.common.errors import UserError
from components.trainer.model_entry import ModelEntry
from components.trainer.models import entry
from components.trainer.settings import (
    IMAGENET,
    MILLION_SONG,
    MUSIC_TAGGERS,
    NO_WEIGHTS,
    SAVED_MODEL,
    ModelSettings,
)
from components.trainer.weight_sources import SavedModelFolder, WeightsError

_LEAST_PICTURE = 32  # of keras.applications
_PUBLISHED = (IMAGENET, MILLION_SONG, MUSIC_TAGGERS)
_SAVED_MODEL_FILE = "saved_model.pb"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def check_audio(name: str, audio: AudioSettings, network: ModelSettings | None = None) -> None:
    """Refuses analysis settings that a model, or the feature that it reads, cannot work with.

    Args:
      name: A name of the catalog, the ensemble excepted.
      audio: The analysis settings.
      network: The network's settings; a backbone may shrink its picture.

    Raises:
      UserError: Names the setting, what it may be and the model.
    """
    model = entry(name)
    if network and model.backbone and network.shrink > 1:
        _check_shrunk(model, audio, network.shrink)
    if audio.mel_bins < model.least_mel_bins:
        raise UserError(
            f"audio.mel_bins must be at least {model.least_mel_bins} for {name}. "
            f"Received: {audio.mel_bins}"
        )
    if audio.window_frames < model.least_window_frames:
        raise UserError(
            f"audio.window_seconds must give {name} at least {model.least_window_frames} frames. "
            f"Received: {audio.window_seconds:g} ({audio.window_frames} frames)"
        )
    try:
        model.feature_entry.check(audio, name)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_shrunk(model: ModelEntry, audio: AudioSettings, shrink: int) -> None:
    bands, frames = audio.mel_bins // shrink, audio.window_frames // shrink
    least_frames = max(model.least_window_frames, _LEAST_PICTURE)
    if bands < model.least_mel_bins or frames < least_frames:
        raise UserError(
            f"training.model.shrink leaves too small a picture for {model.name}: {bands} bands of "
            f"{frames} frames, where it needs {model.least_mel_bins} of {least_frames}. "
            f"Received: {shrink}"
        )


def check_weights(name: str, weights: str) -> None:
    """Checks that a model can start from given weights, so that no training fails late.

    Args:
      name: A name of the catalog.
      weights: `none`, `imagenet`, `msd`, `msd+mtt`, the path of a weights file or the folder of a
        SavedModel (one with `://` in it is only looked for when it is read).

    Raises:
      WeightsError: The model cannot start from such weights, or they are out of reach.
    """
    source = entry(name).weights
    if isinstance(source, SavedModelFolder):
        _check_saved_model(name, weights)
        return
    if weights == NO_WEIGHTS:
        return
    if source is None:
        raise WeightsError(
            f"{name} is trained from scratch: give it weights {NO_WEIGHTS!r}. Received: {weights!r}"
        )
    if weights == source.kind:
        source.check(name)
    elif weights in _PUBLISHED:
        raise WeightsError(
            f"{name} starts from {source.kind!r}, {NO_WEIGHTS!r} or a file. Received: {weights!r}"
        )
    elif "://" not in weights:
        _check_file(name, Path(weights))


def _check_saved_model(name: str, weights: str) -> None:
    if weights in (NO_WEIGHTS, *_PUBLISHED, SAVED_MODEL):
        raise WeightsError(
            f"{name} is a head on a network of your own: name the folder of its SavedModel with "
            "--weights FOLDER (docs/how-to/embedding.md), or leave the model out"
        )
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
