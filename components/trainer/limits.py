"""Checks, before any work, that a model can read what the analysis settings produce.

Imports no Keras, so that the command line can check quickly.
"""

from components.audio import features
from components.audio.settings import AudioSettings
from components.common.errors import UserError
from components.trainer.model_entry import ModelEntry
from components.trainer.models import entry
from components.trainer.settings import ModelSettings

_LEAST_PICTURE = 32  # of keras.applications


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
        features.entry(model.feature).check(audio, name)
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
