"""Resampling in the graph: soxr's filter, and sound at 16 kHz in frames."""

import numpy as np
import pytest
import soxr
import tensorflow as tf

from components.audio.features import entry
from components.audio.features.waveform import resampled_frames
from components.audio.resampling import resampled
from components.audio.settings import AudioSettings

EDGE = 320  # samples in which the silence before and after the sound is heard


def tone(frequency_hz, rate_hz, seconds=1.0):
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def at_16_khz(samples, rate_hz):
    return resampled_frames(tf.constant(samples, tf.float32), rate_hz).numpy().reshape(-1)


RATES = (
    8_000,
    11_025,
    16_000,
    24_000,
    32_000,
    37_800,
    44_100,
    48_000,
    88_200,
    96_000,
    176_400,
    192_000,
)
IN_GRAPH = tf.function(
    lambda sound, rate: resampled(sound, rate, 22_050),
    input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)],
)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("samples", [40_000, 33_333, 7])
def test_it_is_soxrs_high_quality(rate_hz, samples):
    """The whole spectrum, where both cut off too: exact for octaves, else within 0.2 %."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=samples).astype(np.float32)
    expected = soxr.resample(noise, rate_hz, 22_050, quality="HQ")
    for found in (IN_GRAPH(noise, rate_hz), resampled(tf.constant(noise), rate_hz, 22_050)):
        assert abs(len(found) - len(expected)) <= 1
        shared = min(len(found), len(expected))
        atol = 1e-6 if rate_hz in (11_025, 44_100, 88_200, 176_400) else 2e-4
        np.testing.assert_allclose(found[300:shared], expected[300:shared], atol=atol)
        # soxr is a little off where it starts.
        start = min(shared, 300)
        np.testing.assert_allclose(found[:start], expected[:start], atol=3e-3)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000, 8_000])
@pytest.mark.parametrize("frequency_hz", [0.0, 440.0, 3_500.0])
def test_a_tone_stays_the_same_tone(frequency_hz, rate_hz):
    samples = tone(frequency_hz, rate_hz) if frequency_hz else np.ones(rate_hz)
    expected = tone(frequency_hz, 16_000) if frequency_hz else np.ones(16_000)
    found = at_16_khz(samples, rate_hz)
    np.testing.assert_allclose(found[EDGE:-EDGE], expected[EDGE:-EDGE], atol=1e-3)


@pytest.mark.parametrize("frequency_hz", [8_100.0, 9_500.0, 10_900.0])
def test_what_16_khz_cannot_hold_is_not_heard_as_something_else(frequency_hz):
    found = at_16_khz(tone(frequency_hz, 22_050), 22_050)
    assert np.abs(found[EDGE:-EDGE]).max() < 1e-3  # 60 dB


def test_it_agrees_with_soxr_where_both_let_pass():
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=22_050))
    spectrum[7_000:] = 0.0  # one bin a hertz
    music = np.fft.irfft(spectrum)
    expected = soxr.resample(music, 22_050, 16_000, quality="VHQ")
    found = at_16_khz(music, 22_050)
    np.testing.assert_allclose(found[EDGE:-EDGE], expected[EDGE:-EDGE], atol=5e-3 * music.std())


def test_frames_are_as_many_as_the_entry_says_and_the_last_is_filled_up():
    settings = AudioSettings()
    for samples in (66_150, 66_151, 100_000):
        frames = resampled_frames(tf.ones([samples]), settings.sample_rate_hz)
        assert frames.shape == (entry("waveform").frames_in(samples, settings), 320)
    described = entry("waveform").describe(settings)
    assert described.window_shape == (150, 320) and described.windows_per_clip == 10


def test_a_rate_without_whole_frames_is_refused():
    with pytest.raises(ValueError, match=r"audio\.sample_rate_hz must be a multiple of 50.*22051"):
        entry("waveform").check(AudioSettings(sample_rate_hz=22_051), "embedding")
    with pytest.raises(ValueError, match=r"audio\.window_seconds must be at least 3.00 .*2\.5"):
        entry("waveform").check(AudioSettings(window_seconds=2.5), "embedding")
