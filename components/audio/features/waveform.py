"""waveform: sound at 16 kHz, which networks in SavedModels such as YAMNet and VGGish read.

A frame is a fiftieth of a second: 320 samples at 16 kHz, and a whole number of samples at the usual
rates.

>>> ENTRY.describe(AudioSettings()).clip_shape  # frames and columns of a clip of 30 s
(1500, 320)
"""

from typing import TYPE_CHECKING

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

if TYPE_CHECKING:
    import tensorflow as tf

    from components.audio.sound import Sound

SAMPLE_RATE_HZ = 16_000
FRAMES_PER_SECOND = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAMES_PER_SECOND
WINDOW_FRAMES = 3 * FRAMES_PER_SECOND


def resampled_frames(waveform: "tf.Tensor", sample_rate_hz: int) -> "tf.Tensor":
    """Resamples sound to 16 kHz, in frames of a fiftieth of a second.

    Sound is taken to be silent before its start and after its end.

    Args:
      waveform: float32 [samples], full scale is 1.
      sample_rate_hz: Its rate, a multiple of 50.

    Returns:
      float32 [ceil(samples / (sample_rate_hz / 50)), 320].
    """
    import tensorflow as tf

    from components.audio.resampling import resampled

    frames = -(-tf.size(waveform) // (sample_rate_hz // FRAMES_PER_SECOND))
    if sample_rate_hz != SAMPLE_RATE_HZ:
        waveform = resampled(waveform, sample_rate_hz, SAMPLE_RATE_HZ)
    padded = tf.pad(waveform, [[0, frames * SAMPLES_PER_FRAME - tf.size(waveform)]])
    return tf.reshape(padded, [frames, SAMPLES_PER_FRAME])


def _compute(sound: "Sound") -> "tf.Tensor":
    return resampled_frames(sound.waveform, sound.settings.sample_rate_hz)


def _check(settings: AudioSettings, model: str) -> None:
    if settings.sample_rate_hz % FRAMES_PER_SECOND:
        raise ValueError(
            f"audio.sample_rate_hz must be a multiple of {FRAMES_PER_SECOND} for {model}. "
            f"Received: {settings.sample_rate_hz}"
        )
    ENTRY.check_window(settings, model)


ENTRY = FeatureEntry(
    name="waveform",
    compute=_compute,
    hop_samples=lambda settings: settings.sample_rate_hz // FRAMES_PER_SECOND,
    bins=lambda settings: SAMPLES_PER_FRAME,
    window_frames=lambda settings: WINDOW_FRAMES,
    standardised=False,
    check=_check,
)
