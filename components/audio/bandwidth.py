"""Measures up to which frequency a sound reaches: what a codec, a telephone or a low rate left."""

import numpy as np

from components.audio.codec import Samples

FRAME_SAMPLES = 4096
# A frame is measured once in this many, which spreads a few hundred over a clip.
_FRAME_STEP = 4
BAND_HZ = 100.0
# A band counts if its level is within this range of the strongest band. Music falls by 3 to 6 dB an
# octave, so it stays inside; what a low-pass filter stops does not.
RANGE_DB = 80.0
# Level of 16-bit quantisation noise over the whole spectrum (1 / 12 of a step, squared), and how
# far above its share of it a band must be to hold more than noise.
_NOISE_DB = 10 * np.log10(1 / 12 / 32768**2)
_ABOVE_NOISE_DB = 10.0


class LongTermSpectrum:
    """Gathers the mean power spectrum of a sound that is read in blocks, at the sound's own rate.

    Examples:
      >>> spectrum = LongTermSpectrum()
      >>> noise = np.random.default_rng(0).normal(scale=0.1, size=44_100)
      >>> spectrum.add(noise.astype(np.float32), 44_100)
      >>> spectrum.bandwidth_hz()
      22050.0
    """

    def __init__(self) -> None:
        self._power = np.zeros(FRAME_SAMPLES // 2 + 1)
        self._frames = 0
        self._rate_hz = 0.0
        self._window = np.hanning(FRAME_SAMPLES).astype(np.float32)

    def add(self, block: Samples, rate_hz: float) -> None:
        """Adds the next block.

        Args:
          block: float32 [n] in [-1, 1], mono. One that is shorter than a frame is left out, unless
            it is all there is.
          rate_hz: Its sample rate, in hertz; the same for all blocks of a sound.
        """
        if not len(block):
            return
        self._rate_hz = rate_hz
        if len(block) < FRAME_SAMPLES:
            if self._frames:
                return
            # Tapered first: the step at its end would hold every frequency.
            taper = np.hanning(len(block)).astype(np.float32)
            block = np.pad(block * taper, (0, FRAME_SAMPLES - len(block)))
        starts = range(0, len(block) - FRAME_SAMPLES + 1, _FRAME_STEP * FRAME_SAMPLES)
        frames = np.stack([block[start : start + FRAME_SAMPLES] for start in starts])
        spectrum = np.fft.rfft(frames * self._window)
        self._power += np.square(np.abs(spectrum)).sum(axis=0)
        self._frames += len(frames)

    def bandwidth_hz(self) -> float:
        """The highest frequency at which the sound still has power, in hertz.

        The spectrum is read in bands of `BAND_HZ`. The result is the upper edge of the highest band
        that is at most `RANGE_DB` below the strongest and above what 16-bit quantisation
        leaves there: about half the sample rate for sound that nothing has filtered, about 16 kHz
        after a usual MP3 encoder, 3.4 or 4 kHz after a telephone; 0.0 for silence.
        """
        if not self._frames:
            return 0.0
        nyquist_hz = self._rate_hz / 2
        edges = np.arange(0.0, nyquist_hz, BAND_HZ)
        bins = np.ceil(edges / self._rate_hz * FRAME_SAMPLES).astype(int)
        starts = np.unique(bins)  # at a high rate a band may hold no bin of its own
        # Parseval: one-sided power of a windowed frame, so that a full-scale sine has -3 dB.
        scale = 2 / (FRAME_SAMPLES * np.square(self._window).sum() * self._frames)
        power = np.add.reduceat(self._power[:-1], starts) * scale
        level_db = 10 * np.log10(np.maximum(power, 1e-30))
        noise_db = _NOISE_DB + 10 * np.log10(min(1.0, BAND_HZ / nyquist_hz))
        least = max(level_db.max() - RANGE_DB, noise_db + _ABOVE_NOISE_DB)
        (present,) = np.nonzero(level_db > least)
        if not len(present):
            return 0.0
        upper_bin = np.append(starts, FRAME_SAMPLES // 2)[present[-1] + 1]
        return float(min(nyquist_hz, upper_bin * self._rate_hz / FRAME_SAMPLES))
