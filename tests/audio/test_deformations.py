"""Deformations do to sound what their names say, in decibels, hertz and seconds."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import signal

from components.audio import deformations
from components.audio.deformations import DEFORMATIONS, TITLES, deform
from tests.conftest import ROOT, chord

RATE = 22_050
NAMES = tuple(deformation.name for deformation in DEFORMATIONS)


def tone(hertz: float, *, seconds: float = 5.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def white(seconds: float = 5.0) -> np.ndarray:
    samples = np.random.default_rng(3).normal(scale=0.1, size=round(seconds * RATE))
    return samples.astype(np.float32)


def changed(name: str, samples: np.ndarray, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return deform(name, samples, sample_rate_hz=rate, seed=seed)


def power_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20)


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Power within a band, in decibels."""
    hertz, power = signal.welch(samples, RATE, nperseg=4096)
    return 10 * np.log10(power[(hertz >= low_hz) & (hertz < high_hz)].sum() + 1e-20)


def frequency_hz(samples: np.ndarray) -> float:
    """The strongest frequency, between bins by the phase of a long window."""
    size = 1 << 16
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=8 * size))
    return spectrum.argmax() * RATE / (8 * size)


def delay_samples(samples: np.ndarray, original: np.ndarray) -> int:
    correlation = signal.correlate(samples, original, mode="full")
    return int(correlation.argmax()) - (len(original) - 1)


@pytest.mark.parametrize("seconds", [3.0, 4.321, 30.0])
def test_mp3_keeps_length_and_place_and_loses_the_highest_band(seconds, settings):
    original = chord(1, settings, seconds)
    coded = changed("mp3_64k", original)
    assert len(coded) == len(original)
    assert delay_samples(coded, original) == 0
    assert power_db(coded - original) < power_db(original) - 15  # the sound is still itself
    assert abs(band_db(coded, 300, 5000) - band_db(original, 300, 5000)) < 0.5
    assert band_db(coded, 10_200, 11_000) < band_db(original, 10_200, 11_000) - 15


@pytest.mark.parametrize("rate", [8000, 10_000, 22_050, 44_100, 96_000])
def test_mp3_codes_at_64_kbit_a_second_at_any_rate(rate, monkeypatch):
    written = []
    read = deformations.soundfile.read
    monkeypatch.setattr(
        deformations.soundfile,
        "read",
        lambda file, **options: written.append(file.getvalue()) or read(file, **options),
    )
    original = tone(440, rate=rate)
    coded = changed("mp3_64k", original, rate)
    (file,) = written
    assert len(file) * 8 / 5.0 == pytest.approx(64_000, rel=0.07)  # headers and padding
    assert len(coded) == len(original)
    np.testing.assert_allclose(
        coded[rate:-rate], original[rate:-rate], atol=0.03
    )  # the encoder lowers by 0.4 dB


def test_quieter_is_exactly_12_db(settings):
    original = chord(2, settings, 4.0)
    quieter = changed("quieter_12db", original)
    assert power_db(quieter) - power_db(original) == pytest.approx(-12.0, abs=1e-5)
    np.testing.assert_allclose(quieter * 10 ** (12 / 20), original, rtol=1e-5)


def test_noise_is_white_at_20_db_below_the_sound(settings):
    original = chord(3, settings, 30.0)
    noise = changed("noise_20db", original, seed=7) - original
    assert power_db(original) - power_db(noise) == pytest.approx(20.0, abs=0.01)
    bands = [band_db(noise, low, low + 1000) for low in range(0, 11_000, 1000)]
    assert max(bands) - min(bands) < 0.5
    assert abs(np.corrcoef(noise, original)[0, 1]) < 0.01


def test_noise_follows_its_seed(settings):
    original = chord(3, settings, 3.0)
    first, again, other = (changed("noise_20db", original, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_the_telephone_passes_speech_and_nothing_outside_its_band():
    for hertz in (50, 6000):
        assert power_db(changed("telephone_8k", tone(hertz))) < power_db(tone(hertz)) - 40
    for hertz in (500, 1000, 2500):
        original = tone(hertz)
        passed = changed("telephone_8k", original)
        assert abs(power_db(passed) - power_db(original)) < 0.2
        assert delay_samples(passed, original) == 0
    noise = white()
    passed = changed("telephone_8k", noise)
    assert len(passed) == len(noise)
    assert band_db(passed, 4100, 11_025) < band_db(noise, 4100, 11_025) - 50
    for edge in (300, 3400):  # −6 dB
        drop = power_db(tone(edge)) - power_db(changed("telephone_8k", tone(edge)))
        assert drop == pytest.approx(6.0, abs=0.5)


def test_faster_is_higher_and_shorter_by_2_percent():
    original = tone(440)
    faster = changed("faster_2pc", original)
    assert frequency_hz(faster) == pytest.approx(448.8, abs=0.1)
    assert len(faster) == round(len(original) / 1.02)
    assert abs(power_db(faster) - power_db(original)) < 0.01


def test_the_first_ten_seconds_are_the_first_ten_seconds(settings):
    original = chord(4, settings, 30.0)
    np.testing.assert_array_equal(changed("first_10s", original), original[: 10 * RATE])
    short = original[: 7 * RATE]
    np.testing.assert_array_equal(changed("first_10s", short), short)
    assert len(changed("first_10s", tone(440, seconds=12, rate=8000), 8000)) == 80_000


@pytest.mark.parametrize("name", NAMES)
def test_silence_and_full_scale_stay_finite(name):
    silence = np.zeros(4 * RATE, np.float32)
    assert not np.abs(changed(name, silence)).max() > 1e-4
    square = np.sign(tone(440))
    loud = changed(name, square)
    assert loud.dtype == np.float32 and np.isfinite(loud).all()
    np.testing.assert_array_equal(square, np.sign(tone(440)))  # the argument is left alone


@pytest.mark.parametrize("name", NAMES)
def test_the_same_sound_gives_the_same_samples(name, settings):
    original = chord(5, settings, 3.0)
    np.testing.assert_array_equal(changed(name, original, seed=9), changed(name, original, seed=9))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "at least one"),
        (np.zeros((2, 100), np.float32), "at least one"),
        (np.array([0.0, np.nan], np.float32), "NaN"),
    ],
)
def test_what_is_no_sound_is_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        changed("quieter_12db", samples)


def test_a_deformation_that_gives_no_numbers_is_an_error(monkeypatch):
    def broken(samples, sample_rate_hz, seed):
        return np.full_like(samples, np.nan)

    entry = deformations.Deformation("broken", "Broken", broken)
    monkeypatch.setattr(deformations, "DEFORMATIONS", (entry,))
    with pytest.raises(ValueError, match="result of broken holds NaN"):
        changed("broken", tone(440))
    with pytest.raises(ValueError, match=r"known deformations are broken\. Received: 'mp3_64k'"):
        changed("mp3_64k", tone(440))


def test_names_and_titles_are_read_without_tensorflow():
    code = (
        "import sys; from components.audio.deformations import TITLES;"
        "assert TITLES['mp3_64k'] == 'MP3 at 64 kbit/s';"
        "assert not {'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert len(TITLES) == len(DEFORMATIONS) == 6
