"""Loudness: that of BS.1770-4 by recursive filters, the same in a graph and without one."""

import dataclasses

import numpy as np
import pytest
import scipy.signal
import soxr
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.audio import codec, loudness
from components.audio.levelling import levelled
from components.audio.levelling import lufs as lufs_in_graph
from components.audio.settings import AudioSettings
from tests.conftest import chord

SETTINGS = AudioSettings()
RATE = SETTINGS.sample_rate_hz


def sine(decibels: float, seconds: float, hertz: float = 997.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def by_the_standard(sound: np.ndarray) -> float:
    """BS.1770-4 to the letter, at the rate that its filters are given for."""
    weighted = soxr.resample(sound.astype(np.float64), RATE, 48_000, quality="VHQ")
    for numerator, denominator in (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1, -1.69065929, 0.73248077)),
        ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
    ):
        weighted = scipy.signal.lfilter(numerator, denominator, weighted)
    starts = range(0, len(weighted) - 19_200 + 1, 4_800)
    power = np.array([np.mean(weighted[start : start + 19_200] ** 2) for start in starts])
    power = power[-0.691 + 10 * np.log10(power + 1e-30) >= -70]
    gated = power[power >= power.mean() / 10]
    return float(-0.691 + 10 * np.log10(gated.mean()))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_full_scale_sine_of_997_hertz_is_at_minus_three(rate):
    at_rate = AudioSettings(sample_rate_hz=rate)
    assert loudness.lufs(sine(0.0, 3, rate=rate), at_rate) == pytest.approx(-3.01, abs=0.05)


def test_quiet_passages_do_not_count():
    """The third case of EBU Tech 3341, in mono: what is 13 LU below the rest is gated out."""
    sound = np.concatenate([sine(-36.0, 10), sine(-23.0, 60), sine(-36.0, 10)])
    assert loudness.lufs(sound, SETTINGS) == pytest.approx(-23.0 - 3.01, abs=0.1)


@pytest.mark.parametrize("colour", ["white", "brown", "chord", "bursts"])
def test_it_is_that_of_the_recursive_filters(colour):
    noise = 0.1 * np.random.default_rng(0).normal(size=10 * RATE)
    noise = scipy.signal.sosfilt(scipy.signal.butter(8, 9_000, fs=RATE, output="sos"), noise)
    sound = {
        "white": noise,
        "brown": scipy.signal.lfilter([0.02], [1, -0.97], noise),
        "chord": chord(1, SETTINGS, 10),
        "bursts": noise * (np.arange(len(noise)) // RATE % 3 == 0),
    }[colour].astype(np.float32)
    assert loudness.lufs(sound, SETTINGS) == pytest.approx(by_the_standard(sound), abs=0.1)


def test_real_tracks_are_as_loud_as_the_standard_says(real_clips):
    for genre, sound in real_clips.items():
        assert loudness.lufs(sound, SETTINGS) == pytest.approx(by_the_standard(sound), abs=0.1), (
            genre
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.floats(-55.0, 6.0), st.integers(1_000, 4 * RATE))
def test_the_graph_measures_the_same_and_undoes_any_gain(seed, gain_db, samples):
    sound = chord(seed, SETTINGS, 4)[:samples]
    louder = (sound * 10 ** (gain_db / 20)).astype(np.float32)
    measured = loudness.lufs(louder, SETTINGS)
    assert float(lufs_in_graph(tf.constant(louder), SETTINGS)) == pytest.approx(measured, abs=1e-3)
    assert measured == pytest.approx(loudness.lufs(sound, SETTINGS) + gain_db, abs=1e-3)
    (one, audible), (other, _) = (levelled(tf.constant(x), SETTINGS) for x in (sound, louder))
    assert audible
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("target", [-14.0, -23.0])
def test_a_sound_is_brought_to_the_level_of_the_settings(target):
    at_target = dataclasses.replace(SETTINGS, loudness_lufs=target)
    result, _ = levelled(tf.constant(chord(0, SETTINGS, 5) * np.float32(0.01)), at_target)
    assert loudness.lufs(result.numpy(), SETTINGS) == pytest.approx(target, abs=1e-3)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(4 * RATE),
        np.full(4 * RATE, 0.5),  # nothing is heard of a constant
        np.resize([0, 1 / 32_768], 4 * RATE),  # the last bit of 16
        sine(-79.0, 4),
    ],
    ids=["zeros", "constant", "last bit", "-82 LUFS"],
)
def test_what_is_below_the_level_of_silence_stays_as_it_is(sound):
    sound = np.asarray(sound, np.float32)
    result, audible = levelled(tf.constant(sound), SETTINGS)
    assert not audible and loudness.is_silent(sound, SETTINGS)
    np.testing.assert_array_equal(result, sound)


def test_a_sound_is_silent_only_if_every_clip_is():
    clip = SETTINGS.clip_samples
    for at in range(3):
        sound = np.zeros(3 * clip, np.float32)
        sound[at * clip : at * clip + 4 * RATE] = sine(-40.0, 4)
        assert not loudness.is_silent(sound, SETTINGS)
    # A rest that is too short to be classified is not heard.
    assert loudness.is_silent(np.concatenate([np.zeros(clip, "f4"), sine(0.0, 1)]), SETTINGS)


def test_real_tracks_40_decibels_quieter_are_no_silence(real_clips):
    for sound in real_clips.values():
        quiet = codec.from_pcm16(codec.to_pcm16(0.01 * sound))
        assert not loudness.is_silent(quiet, SETTINGS)
