"""music_mel: the input of the networks that were pretrained on the Million Song Dataset.

The networks of the PyPI package `musicnn` read 16 kHz sound with an FFT of 512 and a hop of 256.
For 22 050 Hz sound, the hop below gives the same frames a second.
`components.audio.music_mel` computes it; this file says what it is, without TensorFlow.
"""

from typing import Any

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

HOP_LENGTH = 353
BINS = 96
WINDOW_FRAMES = 187
HIGHEST_HZ = 8000.0
SAMPLE_RATE_HZ = 22_050  # what HOP_LENGTH is for


def _compute(sound: Any) -> Any:
    from components.audio.music_mel import music_mel

    return music_mel(sound.waveform, sound.settings)


def _check(settings: AudioSettings, model: str) -> None:
    if settings.sample_rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(
            f"audio.sample_rate_hz must be {SAMPLE_RATE_HZ} for {model}, whose frames are as "
            "long as those that it was pretrained on: leave the setting out, or the model. "
            f"Received: {settings.sample_rate_hz}"
        )
    # The shortest sound that is accepted must hold one of its windows.
    if ENTRY.frames_in(settings.minimum_samples, settings) < WINDOW_FRAMES:
        seconds = WINDOW_FRAMES * HOP_LENGTH / settings.sample_rate_hz
        raise ValueError(
            f"audio.window_seconds must be at least {seconds:.2f} for {model}, whose windows are "
            f"of that length: leave the setting out, or the model. "
            f"Received: {settings.window_seconds:g}"
        )


ENTRY = FeatureEntry(
    name="music_mel",
    compute=_compute,
    hop_samples=lambda settings: HOP_LENGTH,
    bins=lambda settings: BINS,
    window_frames=lambda settings: WINDOW_FRAMES,
    standardised=False,
    highest_mel_hz=lambda settings: HIGHEST_HZ,
    check=_check,
)
