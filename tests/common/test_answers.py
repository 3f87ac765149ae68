"""Answers for tracks: order, what a track without an answer is, and files that are broken."""

import dataclasses

import numpy as np
import pytest

from components.common import answers

NAMES = ("rock 'n' roll.00002", "blues.00001", "Blasmusik (süd).00003")


def three_tracks():
    windows = np.array(
        [
            [[0.9, 0.1], [0.7, 0.3]],
            [[0.2, 0.8], [5.0, 5.0]],  # the second window is beyond the sound
            [[0.5, 0.5], [0.5, 0.5]],
        ]
    )
    return answers.in_order(
        NAMES,
        np.array([0, 1, 1]),
        np.array([[0.8, 0.2], [0.2, 0.8], [np.nan, np.nan]]),
        window_probabilities=windows,
        counts=np.array([[True, True], [True, False], [False, False]]),
        contents=["c2", "c1", "c3"],
    )


def test_tracks_are_sorted_with_all_that_belongs_to_them():
    result = three_tracks()
    assert result.track_ids == ("Blasmusik (süd).00003", "blues.00001", "rock 'n' roll.00002")
    assert result.contents == ("c3", "c1", "c2")
    assert result.labels.tolist() == [1, 1, 0] and result.labels.dtype == np.int64
    np.testing.assert_array_equal(result.probabilities[1:], np.float32([[0.2, 0.8], [0.8, 0.2]]))
    assert result.window_probabilities[1].tolist() == [[np.float32(0.2), np.float32(0.8)], [0, 0]]
    assert result.probabilities.dtype == result.window_probabilities.dtype == np.float32


def test_a_track_without_an_answer_is_wrong_whatever_its_label():
    result = three_tracks()
    assert result.answered.tolist() == [False, True, True]
    assert result.predictions.tolist() == [-1, 1, 0]
    first_genre = dataclasses.replace(result, labels=np.zeros(3, np.int64))
    assert (first_genre.predictions == first_genre.labels).tolist() == [False, False, True]


def test_what_is_written_is_read(tmp_path):
    before = three_tracks()
    answers.write(str(tmp_path / "new folder"), "mp3_64k", before)
    after = answers.read(str(tmp_path / "new folder"), "mp3_64k")
    for field in dataclasses.fields(answers.TrackAnswers):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))
    answers.write(str(tmp_path), "again", after)
    assert (tmp_path / "again.npz").read_bytes() == (
        tmp_path / "new folder" / "mp3_64k.npz"
    ).read_bytes()


def test_windows_and_contents_may_be_unknown(tmp_path):
    plain = answers.in_order(["b", "a"], np.array([0, 1]), np.eye(3)[:2])
    answers.write(str(tmp_path), answers.CLEAN, plain)
    result = answers.read(str(tmp_path), answers.CLEAN)
    assert result.window_probabilities.shape == (2, 0, 3) and result.counts.shape == (2, 0)
    assert result.contents == ("", "") and result.predictions.tolist() == [1, 0]


def test_no_track_is_a_list_of_none(tmp_path):
    empty = answers.in_order([], np.zeros(0), np.zeros((0, 10)))
    answers.write(str(tmp_path), "none", empty)
    assert answers.read(str(tmp_path), "none").predictions.shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(2)},
        {"probabilities": np.zeros((2, 2))},
        {"window_probabilities": np.zeros((3, 1, 2)), "counts": np.zeros((3, 2), bool)},
        {"window_probabilities": np.zeros((3, 1, 5)), "counts": np.zeros((3, 1), bool)},
        {"contents": ["one"]},
        {"track_ids": ["a", "a", "b"]},
    ],
)
def test_answers_that_do_not_fit_each_other_are_refused(change):
    whole = {"track_ids": NAMES, "labels": np.zeros(3), "probabilities": np.zeros((3, 2))}
    with pytest.raises(ValueError, match="Received"):
        answers.in_order(**whole | change)


def test_a_missing_and_a_broken_file_are_named(tmp_path):
    with pytest.raises(answers.AnswersError, match=r"clean\.npz is missing"):
        answers.read(str(tmp_path), "clean")
    answers.write(str(tmp_path), "clean", three_tracks())
    whole = (tmp_path / "clean.npz").read_bytes()
    np.savez(tmp_path / "other.npz", label=np.zeros(3))
    other = (tmp_path / "other.npz").read_bytes()
    damaged = bytes(byte ^ (60 < place < 120) * 0x5A for place, byte in enumerate(whole))
    for broken in (b"", b"no zip", whole[: len(whole) // 2], damaged, other):
        (tmp_path / "clean.npz").write_bytes(broken)
        with pytest.raises(answers.AnswersError, match=r"clean\.npz is no file of answers"):
            answers.read(str(tmp_path), "clean")
