"""Acoustic fingerprints: what stays of a recording after re-encoding, a shift, another speed.

Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): every frame gives a
word of 32 bits, each the sign of the energy difference between neighbouring bands, compared with
the frame before. Equal recordings have words in common, and over all frames differ in far fewer
bits than the half that unrelated ones do.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.fft
import soxr

from components.audio.codec import Samples

# Analysed at half the usual rate: the bands end at 4 kHz, where a telephone does.
_RATE_HZ = 11_025
_FRAME_SAMPLES = 2048
HOP_SAMPLES = 512
HOP_SECONDS = HOP_SAMPLES / _RATE_HZ
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 4000.0
_BANDS = 33
# Sound beyond this is not fingerprinted, which bounds memory: 10 KB a minute.
MOST_SECONDS = 120.0
# Within 1 % of a speed most words survive; a second set, as of a copy that is faster by this,
# reaches another 1 % to either side.
SPEED_STEP = 1.02

Words = npt.NDArray[np.uint32]
_COUNT_OF_16_BITS = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class Fingerprint:
    """The words of a sound, one a frame of `HOP_SECONDS`.

    Attributes:
      words: uint32 [frames].
      faster: uint32 [frames]: about what the words of a copy are that is played `SPEED_STEP` times
        as fast, in the frames of this sound.
    """

    words: Words
    faster: Words

    def to_bytes(self) -> bytes:
        """Serialises the fingerprint, 8 bytes a frame."""
        return np.stack([self.words, self.faster]).astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fingerprint":
        """Restores what `to_bytes` wrote."""
        words, faster = np.frombuffer(data, "<u4").astype(np.uint32).reshape(2, -1)
        return cls(words, faster)


def fingerprint(samples: Samples, sample_rate_hz: int) -> Fingerprint:
    """Computes the fingerprint of a sound, of its first `MOST_SECONDS` if it is longer.

    Args:
      samples: float32 [n] in [-1, 1], mono. Under a fifth of a second it has no words.
      sample_rate_hz: Their rate, in hertz.
    """
    samples = samples[: int(MOST_SECONDS * sample_rate_hz)]
    low = soxr.resample(samples, sample_rate_hz, _RATE_HZ, quality="MQ").astype(np.float32)
    if len(low) < _FRAME_SAMPLES + HOP_SAMPLES:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.uint32))
    frames = np.lib.stride_tricks.sliding_window_view(low, _FRAME_SAMPLES)[::HOP_SAMPLES]
    spectrum = scipy.fft.rfft(frames * np.hanning(_FRAME_SAMPLES).astype(np.float32))
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return Fingerprint(_words(power, 1.0), _words(power, 1 / SPEED_STEP))


def distance(words: Words, others: Words) -> float:
    """Share of bits that differ between words of the same number, 0 to 1."""
    return float(bit_counts(words ^ others).mean()) / 32


def bit_counts(words: Words) -> npt.NDArray[np.uint8]:
    """Number of ones in each word."""
    return _COUNT_OF_16_BITS[words & 0xFFFF] + _COUNT_OF_16_BITS[words >> 16]


def _words(power: np.ndarray, scale: float) -> Words:
    """Words of frames, with the edges of all bands multiplied by `scale`."""
    ratios = (_HIGHEST_HZ / _LOWEST_HZ) ** (np.arange(_BANDS + 1) / _BANDS)
    # A bin that an edge cuts belongs to both bands in part, or small steps of speed would be lost.
    edges = _LOWEST_HZ * ratios * scale / _RATE_HZ * _FRAME_SAMPLES
    whole = edges.astype(int)
    total = np.concatenate(
        [np.zeros((len(power), 1)), np.cumsum(power[:, : whole[-1] + 1], axis=1, dtype=np.float64)],
        axis=1,
    )
    at_edges = total[:, whole] + (edges - whole) * power[:, whole]
    # Above 16-bit quantisation noise, so that silence gives no bits.
    energy = np.log(np.diff(at_edges, axis=1) + 1e-6)
    across = energy[:, :-1] - energy[:, 1:]
    bits = np.diff(across, axis=0) > 0
    packed = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little"))
    return packed.view("<u4")[:, 0].astype(np.uint32)
