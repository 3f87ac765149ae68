"""waveform: sound at 16 kHz, which networks in SavedModels such as YAMNet and VGGish read.

A frame is a fiftieth of a second: 320 samples at 16 kHz, and a whole number of samples at the usual
rates. tensorflow-io's `resample` is a kernel of its own, which TF Serving lacks. Here every frame
of output is a product of one matrix with the frame of input and its surroundings: a band-limited
interpolation (Smith, "Digital Audio Resampling", CCRMA) whose weights repeat from frame to frame.
"""

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

if TYPE_CHECKING:
    import tensorflow as tf

    from components.audio.sound import Sound

SAMPLE_RATE_HZ = 16_000
FRAMES_PER_SECOND = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAMES_PER_SECOND
WINDOW_FRAMES = 3 * FRAMES_PER_SECOND

# The low-pass filter: a sinc with this many zeros on either side under a Kaiser window, with its
# cut-off at this share of half the lower rate. Flat to 7 kHz, 80 dB down from 8 kHz.
_ZEROS = 64
_CUT_OFF = 0.94
_KAISER_BETA = 8.0


@functools.lru_cache(maxsize=4)
def resampling_matrix(sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """Weights from a frame of input with its surroundings to the frame at 16 kHz.

    Args:
      sample_rate_hz: The input's rate, a multiple of 50.

    Returns:
      float32 [surroundings + input samples + surroundings, 320]; each column's sum is one.
    """
    hop = sample_rate_hz // FRAMES_PER_SECOND
    cut_off_hz = _CUT_OFF * min(sample_rate_hz, SAMPLE_RATE_HZ) / 2.0
    surroundings = int(np.ceil(_ZEROS * sample_rate_hz / (2.0 * cut_off_hz)))
    read_at = np.arange(-surroundings, hop + surroundings) / sample_rate_hz
    written_at = np.arange(SAMPLES_PER_FRAME) / SAMPLE_RATE_HZ
    crossings = 2.0 * cut_off_hz * (written_at - read_at[:, np.newaxis])
    inside = np.clip(1.0 - (crossings / _ZEROS) ** 2, 0.0, None)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA) * (inside > 0.0)
    weights = np.sinc(crossings) * window
    return np.ascontiguousarray(weights / weights.sum(axis=0), dtype=np.float32)


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

    hop = sample_rate_hz // FRAMES_PER_SECOND
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return tf.signal.frame(waveform, hop, hop, pad_end=True)
    matrix = resampling_matrix(sample_rate_hz)
    surroundings = (len(matrix) - hop) // 2
    rest = -tf.shape(waveform)[0] % hop
    padded = tf.pad(waveform, [[surroundings, surroundings + rest]])
    return tf.matmul(tf.signal.frame(padded, len(matrix), hop), matrix)


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
