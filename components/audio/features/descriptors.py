"""descriptors: statistics of a window and of the whole sound around it, one row a window.

`components.audio.descriptors` computes them; this file says what they are, without TensorFlow.

>>> ENTRY.describe(AudioSettings()).clip_shape  # frames and columns of a clip of 30 s
(10, 209)
"""

from typing import Any

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

COLUMN_COUNT = 209  # length of components.audio.descriptors.COLUMNS (a test holds them equal)
_MFCC_COEFFICIENTS = AudioSettings.mfcc_coefficients  # those that the columns count


def _compute(sound: Any) -> Any:
    from components.audio.descriptors import descriptors

    return descriptors(
        sound.waveform, sound.magnitude, sound.level_db, sound.cepstrum, sound.settings
    )


def _check(settings: AudioSettings, model: str) -> None:
    if settings.mfcc_coefficients != _MFCC_COEFFICIENTS:
        raise ValueError(
            f"audio.mfcc_coefficients must be {_MFCC_COEFFICIENTS} for {model}, whose "
            f"descriptors count them. Received: {settings.mfcc_coefficients}"
        )
    if settings.fft_length % settings.hop_length:
        raise ValueError(
            f"audio.fft_length must be a multiple of audio.hop_length for {model}. "
            f"Received: {settings.fft_length} and {settings.hop_length}"
        )


ENTRY = FeatureEntry(
    name="descriptors",
    compute=_compute,
    hop_samples=lambda settings: settings.window_samples,
    bins=lambda settings: COLUMN_COUNT,
    window_frames=lambda settings: 1,
    whole_frames=True,
    check=_check,
)
