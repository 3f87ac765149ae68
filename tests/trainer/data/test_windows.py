"""The windows that training sees are windows of sound."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.trainer.catalog import CATALOG
from components.trainer.data import windows
from components.trainer.data.tracks import Tracks
from components.trainer.settings import AugmentationSettings, ModelSettings, TrainingSettings
from tests.trainer.conftest import coloured, save_body, trained

SMALL = Feature(
    "log_mel", 40, 2, 10.0, 8, standardised=True, clips_per_track=3, highest_mel_hz=11_025.0
)


def lengths():
    """Frames of sound of a track's clips, of which one at least holds a window."""
    clips = st.lists(st.integers(0, SMALL.frames_per_clip), min_size=3, max_size=3)
    return clips.filter(lambda frames: max(frames) >= SMALL.window_frames)


def numbered(frames: list[list[int]]) -> Tracks:
    """Tracks whose frames of sound are numbered; what fills them up is not a number."""
    count = len(frames)
    rows = np.arange(count * SMALL.track_shape[0], dtype=np.float32).reshape(count, 3, -1)
    of_sound = np.arange(SMALL.frames_per_clip) < np.array(frames)[..., None]
    matrices = np.where(of_sound, rows, np.nan).reshape(count, -1, 1)
    return Tracks.from_arrays(SMALL, np.repeat(matrices, 2, axis=2), np.zeros(count), frames=frames)


LIMITS = (windows._CUT_TOGETHER_BYTES, 0)  # small tracks many at a time, and one by one


def stream(tracks: Tracks, batches: int, limit: int = LIMITS[0], **changes) -> np.ndarray:
    """The first windows."""
    chosen = TrainingSettings(batch_size=32, **{"augmentation": AugmentationSettings(), **changes})
    with mock.patch.object(windows, "_CUT_TOGETHER_BYTES", limit):
        data = windows.training_windows(tracks, genre_weights=np.ones(1), settings=chosen)
    return np.concatenate([element[0].numpy() for element in data.take(batches)])


@settings(deadline=None, max_examples=25)
@given(
    st.lists(lengths(), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(LIMITS),
    st.integers(0, 99),
)
def test_all_of_a_window_lies_in_the_sound_of_one_clip(frames, anywhere, limit, seed):
    values = stream(numbered(frames), 2, limit, random_windows=anywhere, seed=seed)[:, :, 0]
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) == 1).all()
    first, last = values[:, 0] // SMALL.frames_per_clip, values[:, -1] // SMALL.frames_per_clip
    np.testing.assert_array_equal(first, last)


@settings(deadline=None, max_examples=25)
@given(st.lists(lengths(), min_size=1, max_size=4), st.sampled_from(LIMITS), st.integers(0, 99))
def test_a_stretched_window_reads_nothing_beyond_its_clip(frames, limit, seed):
    stretched = AugmentationSettings(time_stretch=0.3)
    values = stream(numbered(frames), 2, limit, augmentation=stretched, seed=seed)[:, :, 0]
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (np.ptp(values, axis=1) < SMALL.frames_per_clip).all()


@pytest.mark.parametrize("limit", LIMITS)
def test_every_start_in_the_sound_of_every_clip_is_drawn(limit):
    tracks = numbered([[12, 3, 40]])
    values = stream(tracks, 40, limit)[:, 0, 0]
    assert set(values) == {*range(5), *range(80, 113)}
    on_the_grid = stream(tracks, 10, limit, random_windows=False)[:, 0, 0]
    assert set(on_the_grid) == {0, 80, 88, 96, 104, 112}


def test_the_windows_that_count_are_those_of_sound():
    tracks = numbered([[12, 3, 40], [40, 40, 7], [8, 0, 0]])
    counts = tracks.counting_windows
    assert counts.reshape(3, 3, 5).sum(axis=2).tolist() == [[1, 0, 5], [5, 5, 0], [1, 0, 0]]
    values = np.concatenate(list(windows.evaluation_windows(tracks)))
    values = windows.by_track(values, tracks)
    assert values.shape == (3, 15, *SMALL.window_shape)
    assert np.isfinite(values[counts]).all()
    np.testing.assert_array_equal(values[0, counts[0], 0, 0], [0, 80, 88, 96, 104, 112])


@pytest.mark.parametrize("name", ["cnn", "musicnn"])
def test_what_fills_a_track_up_changes_nothing(name, tmp_path):
    """A network, and a head over a frozen body: figures of one seed, with zeros and with noise."""
    reads = feature(CATALOG[name].feature, AudioSettings(clip_seconds=7, clips_per_track=2))
    changes = {"epochs": 2, "head_epochs": 2}
    if name == "musicnn":
        changes["model"] = ModelSettings(weights=save_body(name, tmp_path, reads), fine_tune=False)
    most = reads.frames_per_clip
    frames = np.array([[most // 2, 0], [most - 1, most // 3], [most, most - 9], [most - 50, 0]])
    zeros, noise = (
        trained(name, *(filled(reads, frames, filling, seed) for seed in (0, 1)), **changes)
        for filling in (0.0, 9.0)
    )
    for key, values in zeros.history.items():
        np.testing.assert_allclose(values, noise.history[key], rtol=1e-5, err_msg=key)
    np.testing.assert_allclose(
        zeros.answers.window_probabilities, noise.answers.window_probabilities, atol=1e-5
    )


def filled(reads: Feature, frames: np.ndarray, filling: float, seed: int) -> Tracks:
    one_clip = dataclasses.replace(reads, frames_per_clip=reads.track_shape[0])
    elements = list(coloured(one_clip, len(frames), seed).dataset.as_numpy_iterator())
    matrices = np.stack([matrix for matrix, _, _ in elements])
    of_sound = np.arange(reads.frames_per_clip) < frames[..., None]
    noise = filling * np.random.default_rng(seed).normal(size=matrices.shape)
    matrices = np.where(of_sound.reshape(len(frames), -1, 1), matrices, noise)
    labels = np.array([label for _, _, label in elements])
    return Tracks.from_arrays(reads, matrices, labels, frames=frames)


MANY = 1100  # tracks of the small feature, which together take over a megabyte


def counted_reads(tracks: Tracks) -> tuple[Tracks, list[int]]:
    """The same tracks, and a list to which each read of a track is added."""
    reads = []

    def note(label: np.ndarray) -> np.ndarray:
        reads.append(1)
        return label

    def read(matrix, frames, label):
        return matrix, frames, tf.ensure_shape(tf.numpy_function(note, [label], tf.int64), [])

    return dataclasses.replace(tracks, dataset=tracks.dataset.map(read)), reads


def test_a_track_over_the_cache_limit_is_read_once_an_epoch_for_all_its_windows():
    tracks, reads = counted_reads(numbered([[40, 40, 40]] * MANY))
    chosen = {"windows_per_track": 4, "cache_megabytes": 1}
    assert not tracks.fits(1)
    epochs = 5
    steps = epochs * windows.steps_per_epoch(MANY, TrainingSettings(batch_size=32, **chosen))
    track_of = stream(tracks, steps, **chosen)[:, 0, 0].astype(int) // SMALL.track_shape[0]
    # One pass an epoch, and one that fills the buffer; some tracks more are read ahead.
    assert epochs * MANY <= len(reads) <= 1.1 * (epochs + 1) * MANY
    times = np.bincount(track_of, minlength=MANY)
    assert times.sum() == steps * 32
    assert times.min() > 0 and times.max() <= 4 * (epochs + 2)
    # Neighbours in a batch are of different tracks, but for rare cases.
    different = [len(set(batch)) for batch in track_of.reshape(-1, 32)]
    assert np.mean(different) > 0.95 * 32


def test_a_small_memory_separates_no_windows_of_a_track_so_each_read_gives_one():
    tracks, reads = counted_reads(numbered([[40, 40, 40]] * 64))
    values = stream(tracks, 8, windows_per_track=4, cache_megabytes=0)[:, 0, 0]
    track_of = values.astype(int).reshape(-1, 32) // SMALL.track_shape[0]
    assert all(len(set(batch)) == 32 for batch in track_of)
    assert len(reads) >= 8 * 32


def test_the_seed_decides_the_windows_over_the_cache_limit():
    tracks = numbered([[40, 12, 40]] * MANY)
    first, second, other = (
        stream(tracks, 3, cache_megabytes=1, seed=seed)[:, 0, 0] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_shapes_of_a_batch_are_static():
    data = windows.training_windows(
        numbered([[40, 40, 40]]),
        genre_weights=np.ones(1),
        settings=TrainingSettings(batch_size=4, augmentation=AugmentationSettings()),
    )
    assert data.element_spec[0] == tf.TensorSpec((4, *SMALL.window_shape), tf.float32)
    (spec,) = [windows.evaluation_windows(numbered([[40, 40, 40]])).element_spec]
    assert spec.shape == (2 * SMALL.windows_per_track, *SMALL.window_shape)
