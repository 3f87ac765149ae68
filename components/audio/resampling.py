"""Resampling to 16 kHz in a TensorFlow graph, with core operations only.

tensorflow-io's `resample` is a kernel of its own, which TF Serving lacks. Here every frame of
output is a product of one matrix with the frame of input and its surroundings: a band-limited
interpolation (Smith, "Digital Audio Resampling", CCRMA) whose weights repeat from frame to frame.
"""

import functools

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.audio.features.waveform import (
    FRAMES_PER_SECOND,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
)

# The low-pass filter: a sinc with this many zeros on either side under a Kaiser window, with its
# cut-off at this share of half the lower rate. Flat to 7 kHz, 80 dB down from 8 kHz.
_ZEROS = 64
_CUT_OFF = 0.94
_KAISER_BETA = 8.0


def _surroundings(sample_rate_hz: int) -> int:
    """Samples of input on either side of a frame that its output depends on."""
    return int(np.ceil(_ZEROS * sample_rate_hz / (2.0 * _cut_off_hz(sample_rate_hz))))


def _cut_off_hz(sample_rate_hz: int) -> float:
    return _CUT_OFF * min(sample_rate_hz, SAMPLE_RATE_HZ) / 2.0


@functools.lru_cache(maxsize=4)
def resampling_matrix(sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """Weights from a frame of input with its surroundings to the frame at 16 kHz.

    Args:
      sample_rate_hz: The input's rate, a multiple of 50.

    Returns:
      float32 [surroundings + input samples + surroundings, 320]; each column's sum is one.
    """
    hop, sides = sample_rate_hz // FRAMES_PER_SECOND, _surroundings(sample_rate_hz)
    read_at = np.arange(-sides, hop + sides) / sample_rate_hz
    written_at = np.arange(SAMPLES_PER_FRAME) / SAMPLE_RATE_HZ
    crossings = 2.0 * _cut_off_hz(sample_rate_hz) * (written_at - read_at[:, np.newaxis])
    inside = np.clip(1.0 - (crossings / _ZEROS) ** 2, 0.0, None)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA) * (inside > 0.0)
    weights = np.sinc(crossings) * window
    return np.ascontiguousarray(weights / weights.sum(axis=0), dtype=np.float32)


def resampled_frames(waveform: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """Resamples sound to 16 kHz, in frames of a fiftieth of a second.

    Sound is taken to be silent before its start and after its end.

    Args:
      waveform: float32 [samples], full scale is 1.
      sample_rate_hz: Its rate, a multiple of 50.

    Returns:
      float32 [ceil(samples / (sample_rate_hz / 50)), 320].
    """
    hop = sample_rate_hz // FRAMES_PER_SECOND
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return tf.signal.frame(waveform, hop, hop, pad_end=True)
    sides = _surroundings(sample_rate_hz)
    rest = -tf.shape(waveform)[0] % hop
    padded = tf.pad(waveform, [[sides, sides + rest]])
    frames = tf.signal.frame(padded, hop + 2 * sides, hop)
    return tf.matmul(frames, resampling_matrix(sample_rate_hz))
