"""Bandwidth: the edge of what a filter, a codec or a low rate left, at the file's own rate."""

import io

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from components.audio import codec
from components.audio.bandwidth import BAND_HZ, LongTermSpectrum
from components.common import bands

RATE = 44_100


def bandwidth_hz(data: bytes) -> float:
    spectrum = LongTermSpectrum()
    codec.decode(data, name="song", sample_rate_hz=22_050, observe=spectrum.add)
    return spectrum.bandwidth_hz()


@pytest.fixture(scope="module")
def pink() -> np.ndarray:
    """Four seconds of noise that falls by 3 dB an octave, as music roughly does."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=4 * RATE))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 80))
    sound = np.fft.irfft(spectrum)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def test_unfiltered_sound_reaches_half_its_own_rate(pink):
    for rate in (22_050, 44_100):
        assert bandwidth_hz(codec.encode_wav(pink, rate)) == pytest.approx(rate / 2, abs=BAND_HZ)


@pytest.mark.parametrize("cutoff_hz", [4000, 9000, 16_000])
def test_it_ends_where_a_steep_filter_does(pink, cutoff_hz):
    taps = scipy.signal.firwin(1001, cutoff_hz, fs=RATE, window=("kaiser", 12))
    filtered = scipy.signal.fftconvolve(pink, taps, mode="same")
    measured = bandwidth_hz(codec.encode_wav(filtered, RATE))
    assert measured == pytest.approx(cutoff_hz, abs=300)


@pytest.mark.parametrize("level", [1.0, 0.03])
def test_a_telephone_s_rate_shows_in_a_file_of_any_rate_and_level(pink, level):
    low = soxr.resample(pink[: 2 * RATE], RATE, 8000)
    data = codec.encode_wav(level * soxr.resample(low, 8000, RATE), RATE)
    measured = bandwidth_hz(data)
    assert measured == pytest.approx(4000, abs=300)
    assert bands.BANDWIDTH.name(measured).startswith("telephone")


def test_an_mp3_ends_before_what_it_was_made_from(pink):
    coded = io.BytesIO()
    soundfile.write(coded, pink, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.6)
    assert bandwidth_hz(coded.getvalue()) < bandwidth_hz(codec.encode_wav(pink, RATE)) - 1000


def test_silence_has_none_and_short_sound_has_its_own():
    assert LongTermSpectrum().bandwidth_hz() == 0.0
    assert bandwidth_hz(codec.encode_wav(np.zeros(RATE), RATE)) == 0.0
    tone = np.sin(2 * np.pi * 1000 * np.arange(2000) / RATE)  # under one frame
    assert 1000 <= bandwidth_hz(codec.encode_wav(0.5 * tone, RATE)) < 3000


def test_the_short_block_at_a_sound_s_end_adds_no_frequencies(pink):
    low = soxr.resample(soxr.resample(pink, RATE, 8000), 8000, RATE)
    spectrum = LongTermSpectrum()
    spectrum.add(low[:8192], RATE)
    before = spectrum.bandwidth_hz()
    spectrum.add(low[8192:9000], RATE)
    assert spectrum.bandwidth_hz() == before


@pytest.mark.parametrize(
    ("value", "name"),
    [(-25.1, "quiet"), (-25.0, "medium"), (-15.1, "medium"), (-15.0, "loud"), (0.0, "loud")],
)
def test_a_band_holds_its_lower_edge(value, name):
    assert bands.LOUDNESS.name(value).startswith(name)
