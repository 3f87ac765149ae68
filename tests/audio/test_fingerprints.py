"""Fingerprints: copies of a recording differ in few bits, other sound in half of them."""

import numpy as np
import pytest
import soxr

from components.audio import fingerprints
from components.audio.fingerprints import Fingerprint, bit_counts, distance, fingerprint

RATE = 22_050


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Ten seconds of chords that change twice a second, over noise."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    chords = []
    for _ in range(20):
        pitches = 110 * 2 ** (rng.integers(0, 48, size=4) / 12)
        overtones = np.multiply.outer(pitches, np.arange(1, 9)).ravel()
        chord = sum(np.sin(2 * np.pi * hertz * time) / (1 + hertz / 400) for hertz in overtones)
        chords.append(chord * np.exp(-3 * time))
    return (0.05 * np.concatenate(chords) + 0.005 * rng.normal(size=10 * RATE)).astype(np.float32)


def test_a_fingerprint_has_a_word_a_frame_and_comes_back_from_bytes(music):
    found = fingerprint(music, RATE)
    assert (
        len(found.words) == len(found.faster) == pytest.approx(10 / fingerprints.HOP_SECONDS, abs=5)
    )
    again = Fingerprint.from_bytes(found.to_bytes())
    np.testing.assert_array_equal(again.words, found.words)
    np.testing.assert_array_equal(again.faster, found.faster)


def test_a_level_changes_hardly_a_bit_and_other_sound_half_of_them(music):
    words = fingerprint(music, RATE).words
    assert distance(words, fingerprint(0.1 * music, RATE).words) < 0.02
    assert 0.4 < distance(words, fingerprint(music[::-1].copy(), RATE).words) < 0.6


def test_the_second_set_of_words_is_that_of_a_faster_copy(music):
    faster = fingerprint(soxr.resample(music, RATE, RATE / fingerprints.SPEED_STEP), RATE).words
    found = fingerprint(music, RATE)
    places = np.round(np.arange(len(faster)) * fingerprints.SPEED_STEP).astype(int)
    inside = places < len(found.words)
    by_set = [
        distance(words[places[inside]], faster[inside]) for words in (found.words, found.faster)
    ]
    assert by_set[1] < 0.2 < by_set[0]


def test_short_and_silent_sound_have_no_telling_words():
    assert len(fingerprint(np.zeros(2000, np.float32), RATE).words) == 0
    assert not fingerprint(np.zeros(RATE, np.float32), RATE).words.any()


def test_only_the_beginning_of_long_sound_is_taken():
    long = np.random.default_rng(0).normal(scale=0.1, size=150 * RATE).astype(np.float32)
    whole = fingerprint(long, RATE)
    assert len(whole.words) * fingerprints.HOP_SECONDS < fingerprints.MOST_SECONDS


def test_bits_are_counted():
    words = np.array([0, 1, 0xFFFFFFFF, 0x80000001, 0x10000], np.uint32)
    assert bit_counts(words).tolist() == [0, 1, 32, 2, 1]
