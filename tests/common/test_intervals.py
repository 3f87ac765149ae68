"""Intervals over tracks, against textbook values and against drawing tracks one by one."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.common.intervals import accuracy_interval, macro_f1_interval


def test_accuracy_has_wilsons_interval():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 and 15 of 148.
    for right, tracks, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        confusion = np.array([[right, tracks - right], [0, 0]])
        assert accuracy_interval(confusion) == pytest.approx((low, high), abs=1e-4)


def test_few_tracks_say_little_even_if_all_are_right():
    low, high = accuracy_interval(np.diag([4, 4, 4]))
    assert high == 1.0 and low == pytest.approx(0.7575, abs=1e-4)


def test_macro_f1_is_drawn_as_tracks_would_be():
    random = np.random.default_rng(1)
    actual = random.integers(0, 3, 60)
    predicted = np.where(random.random(60) < 0.7, actual, random.integers(0, 3, 60))
    confusion = np.zeros((3, 3), np.int64)
    np.add.at(confusion, (actual, predicted), 1)
    drawn = []
    for _ in range(1000):
        tracks = random.integers(0, 60, 60)
        drawn.append(f1_score(actual[tracks], predicted[tracks], average="macro"))
    expected = np.percentile(drawn, [2.5, 97.5])
    assert macro_f1_interval(confusion) == pytest.approx(tuple(expected), abs=0.03)


def test_a_genre_that_nothing_is_of_does_not_count():
    confusion = np.diag([5, 5, 0])
    assert macro_f1_interval(confusion) == (1.0, 1.0)
