"""Deformations that no training copy and no gate uses: what a model has not been prepared for."""

import numpy as np
from scipy import signal

from components.audio.codec import Samples
from components.audio.deformations import Deformation

CUT_HZ = 200.0
COMPRESSION_DB = 10.0
VOICE_DB = -12.0


def bass_cut(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Takes away what is below 200 Hz, as a small loudspeaker does (Butterworth, order 4)."""
    sections = signal.butter(4, CUT_HZ, btype="highpass", fs=sample_rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections, samples), np.float32)


def compressed(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Compresses dynamics as a radio station does: the loudest tenth is turned down by 10 dB.

    Levels over 50 ms above the threshold are brought down 4 : 1, with the threshold 13.3 dB under
    the 90th percentile of levels.
    """
    smoothing = np.exp(-1 / (0.05 * sample_rate_hz))
    power = signal.lfilter([1 - smoothing], [1, -smoothing], np.square(samples))
    level_db = 10 * np.log10(power + 1e-10)
    threshold_db = np.percentile(level_db, 90) - COMPRESSION_DB / 0.75
    gain_db = -0.75 * np.maximum(level_db - threshold_db, 0.0)
    return (samples * 10 ** (gain_db / 20)).astype(np.float32)


def voice_over(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Lets a synthetic voice talk over the music, 12 dB under it.

    Glottal pulses of 90 to 220 Hz pass three formant resonators of random vowels, four syllables a
    second, with pauses (source-filter model, Fant 1960).
    """
    random = np.random.default_rng(seed)
    syllable = sample_rate_hz // 4
    voice = np.zeros(len(samples) + syllable)
    for start in range(0, len(samples), syllable):
        if random.random() < 0.2:
            continue
        pitch_hz = random.uniform(90, 220) * np.linspace(1.0, random.uniform(0.8, 1.2), syllable)
        phase = np.cumsum(pitch_hz / sample_rate_hz)
        sound = np.diff(np.floor(phase), prepend=0.0) + 0.02 * random.standard_normal(syllable)
        for low_hz, high_hz in ((300, 800), (900, 2300), (2400, 3200)):
            centre_hz, width_hz = random.uniform(low_hz, high_hz), 90.0
            radius = np.exp(-np.pi * width_hz / sample_rate_hz)
            angle = 2 * np.pi * centre_hz / sample_rate_hz
            sound = signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], sound)
        voice[start : start + syllable] += sound / np.std(sound) * np.hanning(syllable)
    voice = voice[: len(samples)]
    scale = np.std(samples) / np.std(voice) * 10 ** (VOICE_DB / 20)
    return (samples + scale * voice).astype(np.float32)


UNSEEN = (
    Deformation("bass_cut", "Bass cut below 200 Hz", bass_cut),
    Deformation("compressed", "Dynamics compressed by 10 dB", compressed),
    Deformation("voice_over", "A voice over the music, at −12 dB", voice_over),
)
