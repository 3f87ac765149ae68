"""Deformations of a sound as serving meets them: coded, quieter, noisier, thinner, faster, cut.

Each is a pure function of a mono sound (float32 [n], full scale is 1), its sample rate in hertz and
a seed, 0 or more, which only noise reads: the same arguments always give the same samples. It
returns float32, [n] unless it says otherwise. Results may exceed full scale a little, as a decoded
MP3 does; 16-bit PCM clips them. The gate names the deformations and the report shows their titles,
so nothing here imports TensorFlow.

The kinds follow the Audio Degradation Toolbox (Mauch and Ewert, ISMIR 2013: MP3 compression, phone
playback, added noise, speed-up), which measures music analysis in the same way.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from scipy import signal

from components.audio.codec import Samples

Function = Callable[[Samples, int, int], Samples]

QUIETER_DB = -12.0
NOISE_SNR_DB = 20.0
MP3_KBIT_PER_SECOND = 64
TELEPHONE_RATE_HZ = 8000
TELEPHONE_BAND_HZ = (300.0, 3400.0)
FIRST_SECONDS = 10

# The rates that MPEG layer III knows, in hertz, and the least and greatest bit rates (kbit/s) that
# libsndfile maps its compression level to, by the lowest rate that they hold for.
_MP3_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_MP3_KBIT_RANGES = ((32_000, 32, 320), (16_000, 8, 160), (8_000, 8, 64))

# 2 % faster: 51 samples become 50.
_FASTER = (51, 50)


class Deformation(NamedTuple):
    """One deformation.

    Attributes:
      name: Its name in files and settings.
      title: Its name in tables and charts.
      function: Maps float32 [samples] (full scale is 1), their rate in hertz and a seed to float32
        [samples]. Only noise reads the seed.
    """

    name: str
    title: str
    function: Function


def mp3_64k(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Codes a sound as MP3 at a constant 64 kbit/s (LAME, in libsndfile) and decodes it.

    At this bit rate LAME cuts 22 050 Hz mono off at 9.5 kHz, and it lowers any sound by 0.4 dB
    against overshoot. Encoder delay and padding are taken off again, so the result is aligned with
    the sound and as long. A rate that MP3 does not know is resampled to the next one that it does,
    and back.

    Source: ISO/IEC 11172-3 and 13818-3 (the rates and bit rates of MPEG-1 and MPEG-2 layer III).

    Raises:
      soundfile.LibsndfileError: This libsndfile has no MP3 encoder.
    """
    rate = next((rate for rate in _MP3_RATES_HZ if rate >= sample_rate_hz), _MP3_RATES_HZ[-1])
    file = io.BytesIO()
    soundfile.write(
        file,
        _at_rate(samples, sample_rate_hz, rate),
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=_compression_level(rate, MP3_KBIT_PER_SECOND),
    )
    file.seek(0)
    decoded, decoded_rate = soundfile.read(file, dtype="float32")
    return _of_length(_at_rate(decoded, decoded_rate, sample_rate_hz), len(samples))


def quieter_12db(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Makes a sound 12 dB quieter: y = 10^(−12 / 20) x = 0.251 x."""
    return np.asarray(samples, np.float32) * np.float32(10 ** (QUIETER_DB / 20))


def noise_20db(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Adds white Gaussian noise at a signal-to-noise ratio of 20 dB.

    y = x + n with mean(n²) = mean(x²) / 10^(20 / 10) over the whole sound, exactly: the drawn noise
    is scaled by its own power. So silence stays silence.
    """
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    power = np.mean(np.square(samples, dtype=np.float64))
    wanted_power = power / 10 ** (NOISE_SNR_DB / 10)
    scale = np.sqrt(wanted_power / np.mean(np.square(noise)))
    return (samples + scale * noise).astype(np.float32)


def telephone_8k(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Keeps what a telephone line keeps: 300 to 3400 Hz, sampled at 8 kHz.

    The sound is resampled to 8 kHz (soxr), filtered by a Butterworth band-pass of order 4 forward
    and backward, so that nothing is delayed (−6 dB at both ends of the band), and resampled back.

    Source: ITU-T G.711 (8 kHz sampling) and G.712 (the 300 to 3400 Hz channel). Quantisation by the
    A or µ law is left out.
    """
    narrow = _at_rate(samples, sample_rate_hz, TELEPHONE_RATE_HZ)
    band_pass = signal.butter(
        4, TELEPHONE_BAND_HZ, btype="bandpass", fs=TELEPHONE_RATE_HZ, output="sos"
    )
    usual_padding = 3 * (2 * len(band_pass) + 1)  # SciPy's own, which a short sound cannot give
    filtered = signal.sosfiltfilt(band_pass, narrow, padlen=min(usual_padding, len(narrow) - 1))
    back = _at_rate(filtered.astype(np.float32), TELEPHONE_RATE_HZ, sample_rate_hz)
    return _of_length(back, len(samples))


def faster_2pc(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Plays a sound 2 % faster, as a turntable or a tape does: y(t) = x(1.02 t).

    It is shorter by the factor 1.02 and every frequency is higher by it, a third of a semitone. It
    is resampled by soxr (HQ).

    Returns:
      float32 [round(n / 1.02)].
    """
    return _at_rate(samples, *_FASTER)


def first_10s(samples: Samples, sample_rate_hz: int, seed: int = 0) -> Samples:
    """Takes the first 10 s of a sound; one that is no longer is returned unchanged.

    Returns:
      float32 [min(n, 10 sample_rate_hz)].
    """
    return np.asarray(samples, np.float32)[: FIRST_SECONDS * sample_rate_hz]


DEFORMATIONS = (
    Deformation("mp3_64k", "MP3 at 64 kbit/s", mp3_64k),
    Deformation("quieter_12db", "12 dB quieter", quieter_12db),
    Deformation("noise_20db", "White noise at 20 dB SNR", noise_20db),
    Deformation("telephone_8k", "Telephone band (300 to 3400 Hz, 8 kHz)", telephone_8k),
    Deformation("faster_2pc", "2 % faster", faster_2pc),
    Deformation("first_10s", "The first 10 s only", first_10s),
)

TITLES = {deformation.name: deformation.title for deformation in DEFORMATIONS}


def deform(name: str, samples: Samples, *, sample_rate_hz: int, seed: int) -> Samples:
    """Deforms a sound and checks the result.

    Args:
      name: Of a deformation in `DEFORMATIONS`.
      samples: float32 [n], mono, full scale is 1.
      sample_rate_hz: Their rate, in hertz.
      seed: Of what is drawn, 0 or more.

    Returns:
      float32, finite, of at least one sample.

    Raises:
      ValueError: There is no such deformation, or the sound or the result is empty or not finite.

    Examples:
      >>> tone = np.sin(np.arange(661_500) / 8).astype(np.float32)
      >>> deform("first_10s", tone, sample_rate_hz=22_050, seed=0).shape
      (220500,)
    """
    by_name = {deformation.name: deformation for deformation in DEFORMATIONS}
    if name not in by_name:
        raise ValueError(f"known deformations are {', '.join(by_name)}. Received: {name!r}")
    samples = np.asarray(samples, np.float32)
    _check(samples, "the sound")
    result = by_name[name].function(samples, sample_rate_hz, seed)
    _check(result, f"the result of {name}")
    return result


def _check(samples: Samples, what: str) -> None:
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"{what} must be [samples], of at least one. Received: {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError(f"{what} holds NaN or infinite samples")


def _compression_level(rate: int, kbit_per_second: int) -> float:
    """The level for which libsndfile chooses a constant bit rate: 0 is the most, 1 the least."""
    least, most = next((low, high) for from_hz, low, high in _MP3_KBIT_RANGES if rate >= from_hz)
    return (most - kbit_per_second) / (most - least)


def _at_rate(samples: Samples, rate_hz: int, wanted_hz: int) -> Samples:
    if rate_hz == wanted_hz:
        return np.asarray(samples, np.float32)
    resampled: Samples = soxr.resample(np.asarray(samples, np.float32), rate_hz, wanted_hz)
    return resampled


def _of_length(samples: Samples, length: int) -> Samples:
    """Cuts samples off at the end, or fills it up with zeros; resampling rounds lengths."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
