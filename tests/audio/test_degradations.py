"""Random degradations stay within their ranges, and one seed gives one result."""

import numpy as np
import pytest
from scipy import signal

from components.audio import degradations
from components.audio.degradations import CHAIN, degrade
from tests.conftest import chord

RATE = 22_050
BY_NAME = {degradation.__name__: degradation for _, degradation in CHAIN}


@pytest.fixture(scope="module")
def sound(settings) -> np.ndarray:
    return chord(1, settings, 4.0)


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    hertz, power = signal.welch(samples, RATE, nperseg=2048)
    return 10 * np.log10(power[(hertz >= low_hz) & (hertz < high_hz)].mean() + 1e-20)


def test_one_seed_gives_one_sound_whatever_others_draw_meanwhile(sound):
    first = degrade(sound, sample_rate_hz=RATE, seed=11)
    np.random.seed(5)
    np.random.random(100)
    np.testing.assert_array_equal(first, degrade(sound, sample_rate_hz=RATE, seed=11))
    assert not np.array_equal(first, degrade(sound, sample_rate_hz=RATE, seed=12))


@pytest.mark.parametrize("seed", range(12))
def test_every_chain_changes_the_sound_and_keeps_it_finite(sound, seed):
    result = degrade(sound, sample_rate_hz=RATE, seed=seed)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert abs(len(result) / len(sound) - 1) <= 0.065
    shared = min(len(sound), len(result))
    assert not np.allclose(result[:shared], sound[:shared], atol=1e-4)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("samples", [np.zeros(RATE), 1e-4 * np.ones(50)], ids=["silent", "short"])
def test_silence_and_very_short_sounds_stay_finite(name, samples):
    result = BY_NAME[name](samples.astype(np.float32), RATE, np.random.default_rng(0))
    assert len(result) and np.isfinite(result).all()


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_a_ratio_within_its_range(sound, seed):
    noise = BY_NAME["noise"](sound, RATE, np.random.default_rng(seed)) - sound
    ratio_db = 10 * np.log10(np.mean(sound**2) / np.mean(noise**2))
    low, high = degradations.NOISE_SNR_DB
    assert low - 0.1 <= ratio_db <= high + 0.1


def test_noise_has_the_colour_that_was_drawn(monkeypatch, sound):
    slopes = {}
    for exponent in (-1.0, 0.0, 2.0):
        monkeypatch.setattr(degradations, "NOISE_EXPONENT", (exponent, exponent))
        noise = BY_NAME["noise"](sound, RATE, np.random.default_rng(0)) - sound
        slopes[exponent] = band_db(noise, 4000, 8000) - band_db(noise, 500, 1000)  # three octaves
    assert slopes == pytest.approx({-1.0: 9.0, 0.0: 0.0, 2.0: -18.0}, abs=1.5)


@pytest.mark.parametrize("seed", range(6))
def test_a_band_limit_takes_away_the_highest_octave(seed):
    white = np.random.default_rng(3).normal(scale=0.1, size=5 * RATE).astype(np.float32)
    limited = BY_NAME["band_limit"](white, RATE, np.random.default_rng(seed))
    assert band_db(limited, 10_900, 11_025) < band_db(white, 10_900, 11_025) - 0.5


def test_clipping_flattens_peaks_and_keeps_the_rest(sound):
    clipped = BY_NAME["clipping"](sound, RATE, np.random.default_rng(1))
    limit = np.abs(clipped).max()
    assert 3.0 <= 20 * np.log10(np.abs(sound).max() / limit) <= 15.0
    inside = np.abs(sound) < limit
    np.testing.assert_array_equal(clipped[inside], sound[inside])


@pytest.mark.parametrize("number", range(len(degradations.CODECS)))
def test_a_codec_keeps_the_length_and_the_music(monkeypatch, sound, number):
    monkeypatch.setattr(degradations, "CODECS", degradations.CODECS[number : number + 1])
    coded = BY_NAME["codec"](sound, RATE, np.random.default_rng(0))
    assert len(coded) == len(sound)
    assert abs(band_db(coded, 200, 2000) - band_db(sound, 200, 2000)) < 1.0
    assert not np.array_equal(coded, sound)


def test_a_speed_moves_a_tone_by_up_to_six_per_cent():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE * 2) / RATE).astype(np.float32)
    factors = []
    for seed in range(8):
        played = BY_NAME["speed"](tone, RATE, np.random.default_rng(seed))
        spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played)), 1 << 18))
        hertz = spectrum.argmax() * RATE / (1 << 18)
        assert hertz * len(played) == pytest.approx(1000 * len(tone), rel=1e-3)
        factors.append(hertz / 1000)
    assert 0.94 <= min(factors) < 1 < max(factors) <= 1.06
