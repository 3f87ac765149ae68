"""Whether a model can read what the analysis settings make, asked before any work.

Pure Python, so that the command line can ask at no cost.
"""

from components.audio.features import MUSIC_MEL_HOP_LENGTH, MUSIC_MEL_WINDOW_FRAMES
from components.audio.settings import AudioSettings
from components.errors import UserError

# With fewer, poolings leave nothing (cnn, crnn), or keras.applications refuses.
LEAST_MEL_BINS = {
    "cnn": 15,
    "crnn": 31,
    "vgg16": 32,
    "vgg19": 32,
    "efficientnetb0": 32,
    "inceptionv3": 75,
    "mobilenetv2": 32,
}
_LEAST_FRAMES = {"inceptionv3": 75}  # of a window; every other model reads any that is allowed

_MUSIC_NETWORKS = ("musicnn", "musicvgg")
_MUSIC_SAMPLE_RATE_HZ = 22_050  # what MUSIC_MEL_HOP_LENGTH is for


def check_audio(name: str, audio: AudioSettings) -> None:
    """Refuses settings that a model cannot be built for, or would be fed another input with.

    Args:
      name: A name of the catalog.
      audio: The analysis settings.

    Raises:
      UserError: Names the setting, what it may be and the model.
    """
    least_bins, least_frames = LEAST_MEL_BINS.get(name, 1), _LEAST_FRAMES.get(name, 1)
    if audio.mel_bins < least_bins:
        raise UserError(
            f"audio.mel_bins must be at least {least_bins} for {name}. Received: {audio.mel_bins}"
        )
    if audio.window_frames < least_frames:
        raise UserError(
            f"audio.window_seconds must give {name} at least {least_frames} frames. "
            f"Received: {audio.window_seconds:g} ({audio.window_frames} frames)"
        )
    if name in _MUSIC_NETWORKS:
        _check_music(name, audio)


def _check_music(name: str, audio: AudioSettings) -> None:
    if audio.sample_rate_hz != _MUSIC_SAMPLE_RATE_HZ:
        raise UserError(
            f"audio.sample_rate_hz must be {_MUSIC_SAMPLE_RATE_HZ} for {name}, whose frames are as "
            "long as those that it was pretrained on: leave the setting out, or the model. "
            f"Received: {audio.sample_rate_hz}"
        )
    # The shortest sound that is let in must hold one of its windows.
    if -(-audio.minimum_samples // MUSIC_MEL_HOP_LENGTH) < MUSIC_MEL_WINDOW_FRAMES:
        seconds = MUSIC_MEL_WINDOW_FRAMES * MUSIC_MEL_HOP_LENGTH / audio.sample_rate_hz
        raise UserError(
            f"audio.window_seconds must be at least {seconds:.2f} for {name}, whose windows are of "
            f"that length: leave the setting out, or the model. Received: {audio.window_seconds:g}"
        )
