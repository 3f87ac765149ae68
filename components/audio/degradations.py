"""Random degradations of a sound, so that models train on sound as it will reach them.

`degrade` sends a sound through a random chain: speed, equaliser, room, band limit, clipping, noise
and a lossy codec, in the order in which a recording meets them. All parameters are drawn from
ranges with one seed, so that the same sound and seed give the same samples on every machine. The
deformations that the gate judges by (`components.audio.deformations`) are fixed points; nothing
here repeats one of them on purpose.

A widely used library does the same (audiomentations), but draws from the process's global random
generators, which Beam's worker threads share: a copy would then depend on its neighbours.

Sources: the kinds follow the Audio Degradation Toolbox (Mauch and Ewert, ISMIR 2013), training on
corrupted copies follows speech recognition (Ko et al., Interspeech 2015 and ICASSP 2017).
"""

import io
from collections.abc import Callable

import numpy as np
import soundfile
import soxr
from scipy import fft, signal

from components.audio.codec import Samples

Degradation = Callable[[Samples, int, np.random.Generator], Samples]

SPEED = (0.94, 1.06)
EQUALISER_BANDS = (1, 4)
EQUALISER_GAIN_DB = (-10.0, 10.0)
REVERBERATION_SECONDS = (0.1, 0.6)  # until the room's answer is 60 dB down
DIRECT_TO_REVERBERANT_DB = (0.0, 15.0)
LOW_PASS_HZ = (3_000.0, 11_000.0)
NARROW_LOW_EDGE_HZ = (150.0, 500.0)
NARROW_HIGH_EDGE_HZ = (2_500.0, 4_500.0)
CLIPPED_DB = (3.0, 15.0)  # how far the limit is below the sound's peak
NOISE_SNR_DB = (5.0, 40.0)
NOISE_EXPONENT = (-1.0, 2.0)  # power falls with frequency^-exponent: blue to brown

# Container, subtype, a sample rate that it takes, and the range of compression levels.
CODECS = (
    ("MP3", "MPEG_LAYER_III", 22_050, (0.3, 0.9)),  # 112 to 24 kbit/s
    ("OGG", "VORBIS", 22_050, (0.2, 1.0)),
    ("OGG", "OPUS", 24_000, (0.4, 0.95)),
)


def degrade(samples: Samples, *, sample_rate_hz: int, seed: int) -> Samples:
    """Sends a sound through a random chain of degradations.

    Args:
      samples: float32 [n], mono, full scale is 1.
      sample_rate_hz: Their rate, in hertz.
      seed: Of all that is drawn, 0 or more.

    Returns:
      float32 [m]: finite; longer or shorter than the sound by up to 6 %.

    Examples:
      >>> tone = np.sin(np.arange(66_150) / 8).astype(np.float32)
      >>> copy = degrade(tone, sample_rate_hz=22_050, seed=7)
      >>> bool((copy == degrade(tone, sample_rate_hz=22_050, seed=7)).all())
      True
    """
    random = np.random.default_rng(seed)
    result = np.asarray(samples, np.float32)
    drawn = [random.random() < probability for probability, _ in CHAIN]
    if not any(drawn):
        drawn[random.integers(len(drawn))] = True
    for is_drawn, (_, degradation) in zip(drawn, CHAIN, strict=True):
        if is_drawn:
            result = degradation(result, sample_rate_hz, random).astype(np.float32)
    return result


def speed(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Plays a sound up to 6 % faster or slower, pitch included: y(t) = x(f t)."""
    factor = random.uniform(*SPEED)
    resampled: Samples = soxr.resample(samples, factor, 1.0)
    return resampled


def equaliser(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Raises and lowers a few bands, as tone controls and loudspeakers do.

    Each band is a peaking filter at a centre drawn evenly in octaves, about one octave wide.
    Source: R. Bristow-Johnson's audio EQ cookbook.
    """
    sections = []
    for _ in range(random.integers(*EQUALISER_BANDS, endpoint=True)):
        centre_hz = np.exp(random.uniform(np.log(60.0), np.log(0.4 * sample_rate_hz)))
        amplitude = 10 ** (random.uniform(*EQUALISER_GAIN_DB) / 40)
        angle = 2 * np.pi * centre_hz / sample_rate_hz
        alpha = np.sin(angle) / (2 * random.uniform(0.5, 2.0))
        section = [
            *(1 + alpha * amplitude, -2 * np.cos(angle), 1 - alpha * amplitude),
            *(1 + alpha / amplitude, -2 * np.cos(angle), 1 - alpha / amplitude),
        ]
        sections.append(np.array(section) / section[3])
    filtered: Samples = signal.sosfilt(np.array(sections), samples)
    return filtered


def room(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Adds the reverberation of a small room: noise that decays exponentially.

    Source: Polack's statistical model of late reverberation; the response is h(t) = n(t)
    10^(−3 t / T60), scaled to a drawn ratio of direct to reverberant energy.
    """
    decay_seconds = random.uniform(*REVERBERATION_SECONDS)
    time = np.arange(1, round(decay_seconds * sample_rate_hz)) / sample_rate_hz
    response = random.standard_normal(len(time)) * 10 ** (-3 * time / decay_seconds)
    ratio_db = random.uniform(*DIRECT_TO_REVERBERANT_DB)
    response *= 10 ** (-ratio_db / 20) / np.sqrt(np.sum(np.square(response)))
    wet: Samples = signal.fftconvolve(samples, np.concatenate([[1.0], response]))[: len(samples)]
    return wet


def band_limit(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Takes away treble, or keeps a narrow band as telephones and small loudspeakers do."""
    order = int(random.integers(2, 8, endpoint=True))
    if random.random() < 0.5:
        edges: float | list[float] = min(random.uniform(*LOW_PASS_HZ), 0.49 * sample_rate_hz)
        kind = "lowpass"
    else:
        edges = [random.uniform(*NARROW_LOW_EDGE_HZ), random.uniform(*NARROW_HIGH_EDGE_HZ)]
        kind = "bandpass"
    sections = signal.butter(order, edges, btype=kind, fs=sample_rate_hz, output="sos")
    filtered: Samples = signal.sosfilt(sections, samples)
    return filtered


def clipping(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Cuts peaks off, as an input that is driven too hard does; the level stays."""
    limit = np.max(np.abs(samples)) * 10 ** (-random.uniform(*CLIPPED_DB) / 20)
    return np.clip(samples, -limit, limit)


def noise(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Adds Gaussian noise of a random colour at a random ratio of signal to noise.

    Its power density is proportional to f^−b, with b from −1 (blue) over 0 (white) to 2 (brown).
    """
    length = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(random.standard_normal(length))
    frequency = np.maximum(fft.rfftfreq(length, 1 / sample_rate_hz), 20.0)
    spectrum *= frequency ** (-random.uniform(*NOISE_EXPONENT) / 2)
    coloured = fft.irfft(spectrum, length)[: len(samples)]
    power = np.mean(np.square(samples, dtype=np.float64))
    noise_power = power / 10 ** (random.uniform(*NOISE_SNR_DB) / 10)
    return samples + coloured * np.sqrt(noise_power / np.mean(np.square(coloured)))


def codec(samples: Samples, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """Codes a sound as MP3, Vorbis or Opus at a random bit rate, and decodes it (libsndfile).

    The result is aligned with the sound and as long.
    """
    container, subtype, rate, levels = CODECS[random.integers(len(CODECS))]
    # Codecs clip at full scale; this one is not meant to.
    peak = max(1.0, float(np.max(np.abs(samples))))
    file = io.BytesIO()
    soundfile.write(
        file,
        soxr.resample((samples / peak).astype(np.float32), sample_rate_hz, rate),
        rate,
        format=container,
        subtype=subtype,
        compression_level=random.uniform(*levels),
        bitrate_mode="CONSTANT" if container == "MP3" else None,
    )
    file.seek(0)
    decoded, decoded_rate = soundfile.read(file, dtype="float32")
    back = peak * soxr.resample(decoded, decoded_rate, sample_rate_hz)[: len(samples)]
    return np.pad(back, (0, len(samples) - len(back)))


CHAIN: tuple[tuple[float, Degradation], ...] = (
    (0.5, speed),
    (0.5, equaliser),
    (0.25, room),
    (0.5, band_limit),
    (0.2, clipping),
    (0.5, noise),
    (0.5, codec),
)
"""Each degradation with the probability that a chain holds it, in the order of the chain."""
