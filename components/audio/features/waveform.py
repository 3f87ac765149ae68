"""waveform: sound at 16 kHz, which networks in SavedModels such as YAMNet and VGGish read.

A frame is a fiftieth of a second: 320 samples at 16 kHz, and a whole number of samples at the usual
rates. `components.audio.resampling` computes it; this file says what it is, without TensorFlow.
"""

from typing import Any

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

SAMPLE_RATE_HZ = 16_000
FRAMES_PER_SECOND = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAMES_PER_SECOND
WINDOW_FRAMES = 3 * FRAMES_PER_SECOND


def _compute(sound: Any) -> Any:
    from components.audio.resampling import resampled_frames

    return resampled_frames(sound.waveform, sound.settings.sample_rate_hz)


def _check(settings: AudioSettings, model: str) -> None:
    if settings.sample_rate_hz % FRAMES_PER_SECOND:
        raise ValueError(
            f"audio.sample_rate_hz must be a multiple of {FRAMES_PER_SECOND} for {model}. "
            f"Received: {settings.sample_rate_hz}"
        )
    # The shortest sound that is accepted must hold one window.
    if ENTRY.frames_in(settings.minimum_samples, settings) < WINDOW_FRAMES:
        raise ValueError(
            f"audio.window_seconds must be at least {WINDOW_FRAMES / FRAMES_PER_SECOND:g} for "
            f"{model}, whose windows are of that length: leave the setting out, or the model. "
            f"Received: {settings.window_seconds:g}"
        )


ENTRY = FeatureEntry(
    name="waveform",
    compute=_compute,
    hop_samples=lambda settings: settings.sample_rate_hz // FRAMES_PER_SECOND,
    bins=lambda settings: SAMPLES_PER_FRAME,
    window_frames=lambda settings: WINDOW_FRAMES,
    standardised=False,
    check=_check,
)
