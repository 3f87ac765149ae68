"""Measures level, silence and clipping of a sound."""

import dataclasses

import numpy as np

from components.audio.codec import Samples

SILENCE_DB = -60.0  # a block quieter than this is silent, in dB below full scale
FLOOR_DB = -120.0  # the level given to digital silence
BLOCK_SAMPLES = 2048

_FULL_SCALE = 32767 / 32768  # the largest positive 16-bit sample


@dataclasses.dataclass(frozen=True)
class Levels:
    """Level, silence and clipping of a sound, which the schema sets limits for.

    Attributes:
      peak: Largest magnitude, 0 to 1.
      rms_db: Root mean square over the whole clip, in dBFS, at least `FLOOR_DB`.
      silent_fraction: Part of the blocks of `BLOCK_SAMPLES` below `SILENCE_DB`, 0 to 1.
      clipped_fraction: Part of the samples at 16-bit full scale, 0 to 1.
    """

    peak: float
    rms_db: float
    silent_fraction: float
    clipped_fraction: float


def measure(samples: Samples) -> Levels:
    """Measures a clip.

    Args:
      samples: float32 [n] in [-1, 1]; the remainder after the last whole block is a block too.

    Returns:
      The levels; without samples those of digital silence.
    """
    if not len(samples):
        return Levels(peak=0.0, rms_db=FLOOR_DB, silent_fraction=1.0, clipped_fraction=0.0)
    magnitude = np.abs(samples)
    starts = np.arange(0, len(samples), BLOCK_SAMPLES)
    energy = np.add.reduceat(np.square(samples), starts)
    lengths = np.diff(np.append(starts, len(samples)))
    silence_power = 10 ** (SILENCE_DB / 10)
    mean_power = float(energy.sum(dtype=np.float64)) / len(samples)
    return Levels(
        peak=float(magnitude.max()),
        rms_db=max(FLOOR_DB, 10 * float(np.log10(max(mean_power, 1e-30)))),
        silent_fraction=float(np.mean(energy / lengths < silence_power)),
        clipped_fraction=float(np.mean(magnitude >= _FULL_SCALE)),
    )
