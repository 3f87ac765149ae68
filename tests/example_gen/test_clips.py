"""What a record holds of a sound: all of a short one, evenly spread clips of a long one."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components.audio import codec, levels
from components.example_gen import tracks
from components.gtzan.genres import GENRES
from tests.example_gen import conftest as world

RATE = world.SHORT.sample_rate_hz


def record(samples: np.ndarray, clips_per_track: int = 1):
    """The record of a WAV file, and what was found in the file."""
    audio = dataclasses.replace(world.SHORT, clips_per_track=clips_per_track)
    data = codec.encode_wav(samples, RATE)
    track = tracks.examine(tracks.identify("jazz/a song.wav", GENRES), data, audio)
    return tf.train.Example.FromString(tracks.to_example(track, data, audio)), track


def pcm_of(example) -> np.ndarray:
    (audio,) = example.features.feature["audio"].bytes_list.value
    return np.frombuffer(audio, "<i2")


@pytest.mark.parametrize("clips_per_track", [1, 5])
def test_a_sound_under_a_clip_is_kept_as_it_is_and_judged_by_itself(clips_per_track):
    samples = world.sound(3, seconds=3.3)
    example, track = record(samples, clips_per_track)
    np.testing.assert_array_equal(pcm_of(example), np.frombuffer(codec.to_pcm16(samples), "<i2"))
    assert track.silent_fraction == 0.0  # padded with silence to 4 s it was 0.17
    rms_db = 10 * np.log10(np.mean(samples**2))
    assert track.rms_db == pytest.approx(rms_db, abs=1e-3)


@pytest.mark.parametrize(
    ("seconds", "clips_per_track", "starts"),
    [
        (10.0, 1, [3.0]),  # the middle
        (10.0, 5, [0.5, 5.5]),  # two fit without overlap
        (7.0, 3, [1.5]),
        (40.0, 4, [3.0, 13.0, 23.0, 33.0]),
        (16.0, 4, [0.0, 4.0, 8.0, 12.0]),  # all of it
    ],
)
def test_a_longer_sound_gives_clips_that_are_spread_evenly(seconds, clips_per_track, starts):
    samples = world.sound(4, seconds=seconds)
    example, track = record(samples, clips_per_track)
    whole = np.frombuffer(codec.to_pcm16(samples), "<i2")
    expected = [whole[round(start * RATE) :][: world.SHORT.clip_samples] for start in starts]
    np.testing.assert_array_equal(pcm_of(example), np.concatenate(expected))
    measured = levels.measure(np.concatenate(expected) / np.float32(32768))
    assert track.peak == pytest.approx(measured.peak)
    assert track.rms_db == pytest.approx(measured.rms_db, abs=1e-3)
    assert track.duration_seconds == pytest.approx(seconds, abs=1e-3)
    assert track.content == tracks.content_hash(pcm_of(example).tobytes())
