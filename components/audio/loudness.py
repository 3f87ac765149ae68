"""Measures the loudness of a sound in LUFS (ITU-R BS.1770-4), without TensorFlow.

Two things differ from the standard. The K-weighting is applied to the spectra of steps of 0.1 s
instead of by recursive filters, which TensorFlow lacks (`components.audio.levelling` measures the
same in a graph): for music within 0.1 LU, while rumble below 20 Hz counts more. And the absolute
gate of -70 LUFS is relative to the loudest block: an absolute one would drop other blocks from a
quieter copy of the same sound.
"""

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

from components.audio.settings import AudioSettings

# A sound below it holds nothing but noise. The quietest of 70 tracks of GTZAN is at -31 LUFS, the
# last bit of 16-bit sound at -93: music may come 40 dB quieter than it was mastered.
SILENCE_LUFS = -80.0

STEPS_PER_BLOCK = 4  # blocks of 0.4 s that overlap by 75 %
OFFSET_LU = -0.691  # makes a 997 Hz sine at full scale -3.01 LUFS
# 60 dB below the loudest block, which is -70 LUFS for music as loud as it is mastered.
LOUDEST_GATE = 1e-6
RELATIVE_GATE = 0.1  # 10 LU below the mean of what passed the first gate
LEAST_POWER = 1e-30

_STEPS_PER_SECOND = 10
# Tables 1 and 2 of BS.1770-4, for 48 kHz: the shelf of the head, and the high-pass.
_TABLE_RATE_HZ = 48_000
_SHELF = (
    (1.53512485958697, -2.69169619938638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def lufs(samples: npt.NDArray[np.float32], settings: AudioSettings) -> float:
    """Measures the loudness of a mono sound.

    Args:
      samples: float32 [n], full scale is 1. A rest under 0.1 s does not count; a sound under 0.4 s
        is one block.
      settings: The analysis settings; their sample rate counts.

    Returns:
      The loudness in LUFS; about -300 for digital silence.

    Examples:
      >>> settings = AudioSettings()
      >>> time = np.arange(2 * settings.sample_rate_hz, dtype="f4") / settings.sample_rate_hz
      >>> print(f"{lufs(np.sin(2 * np.pi * 997 * time), settings):.1f}")
      -3.0
    """
    step = step_samples(settings)
    samples = np.pad(samples, (0, max(0, STEPS_PER_BLOCK * step - len(samples))))
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    spectra = scipy.fft.rfft(steps.astype(np.float32, copy=False))
    step_power = (spectra.real**2 + spectra.imag**2) @ step_weights(settings.sample_rate_hz)
    blocks = np.convolve(step_power, np.full(STEPS_PER_BLOCK, 1 / STEPS_PER_BLOCK), "valid")
    audible = blocks[blocks >= LOUDEST_GATE * blocks.max()].mean()
    gated = blocks[blocks >= RELATIVE_GATE * audible].mean()
    return 10.0 * float(np.log10(max(gated, LEAST_POWER))) + OFFSET_LU


def is_silent(samples: npt.NDArray[np.float32], settings: AudioSettings) -> bool:
    """Whether no clip of a sound reaches `SILENCE_LUFS`.

    Args:
      samples: float32 [n], of clips end to end, each of `settings.clip_samples`; a rest too short
        to be classified does not count unless it is all there is.
      settings: The analysis settings.
    """
    starts = range(0, max(1, len(samples) - settings.minimum_samples + 1), settings.clip_samples)
    return all(
        lufs(samples[start : start + settings.clip_samples], settings) < SILENCE_LUFS
        for start in starts
    )


def step_samples(settings: AudioSettings) -> int:
    """Samples in a step, a quarter of a block."""
    return settings.sample_rate_hz // _STEPS_PER_SECOND


@functools.lru_cache(maxsize=8)
def step_weights(sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """K-weighting's power response at each bin of a step's spectrum, scaled to mean squares.

    Returns:
      float32 [step_samples / 2 + 1], read-only.
    """
    step = sample_rate_hz // _STEPS_PER_SECOND
    frequencies = np.minimum(np.fft.rfftfreq(step, 1 / sample_rate_hz), _TABLE_RATE_HZ / 2)
    z = np.exp(2j * np.pi * frequencies / _TABLE_RATE_HZ)
    response = np.ones(len(frequencies), complex)
    for numerator, denominator in (_SHELF, _HIGH_PASS):
        response *= np.polyval(numerator, z) / np.polyval(denominator, z)
    both_sides = np.full(len(frequencies), 2.0)
    both_sides[0] = 1.0
    if step % 2 == 0:
        both_sides[-1] = 1.0
    weights = (np.abs(response) ** 2 * both_sides / step**2).astype(np.float32)
    weights.flags.writeable = False
    return weights
