"""Figures of small examples by hand, intervals against textbook values and bootstraps by track."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from components.common import metrics


def test_scores_of_a_small_example_are_those_by_hand():
    labels = np.array([0, 0, 1, 2])
    predicted = np.array([0, 1, 1, 1])
    probabilities = np.full((4, 4), 0.1)
    probabilities[np.arange(4), predicted] = 0.7
    scores = metrics.score(probabilities, labels)
    assert scores.accuracy == 0.5
    # F1 of genre 0 is 2/3, of genre 1 is 2/4, of genre 2 is 0; genre 3 does not occur.
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores.loss == pytest.approx(-(2 * np.log(0.7) + 2 * np.log(0.1)) / 4)
    confusion = metrics.confusion_matrix(probabilities, labels)
    np.testing.assert_array_equal(
        confusion, [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    )
    assert metrics.macro_f1(confusion) == pytest.approx(scores.macro_f1)
    precision, recall, f1 = metrics.precision_recall_f1(confusion)
    np.testing.assert_allclose(precision, [1, 1 / 3, np.nan, np.nan])
    np.testing.assert_allclose(recall, [1 / 2, 1, 0, np.nan])
    np.testing.assert_allclose(f1, [2 / 3, 1 / 2, 0, np.nan])
    assert metrics.brier_scores(probabilities, labels)[0] == pytest.approx(0.09 + 3 * 0.01)


def test_a_track_is_judged_by_the_mean_of_its_windows():
    windows = np.array([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]])
    every = np.ones((1, 3), bool)
    assert metrics.track_scores(windows, np.array([0]), every).accuracy == 1.0
    assert metrics.window_scores(windows, np.array([0]), every).accuracy == pytest.approx(1 / 3)


def test_windows_beyond_the_sound_are_in_no_score():
    """Two windows of sound; the third is what a network makes of nothing."""
    windows = np.array([[[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]]])
    counts = np.array([[True, True, False]])
    np.testing.assert_allclose(metrics.track_means(windows, counts), [[0.6, 0.4]])
    assert metrics.track_scores(windows, np.array([0]), counts).accuracy == 1.0
    assert metrics.window_scores(windows, np.array([0]), counts).accuracy == 1.0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(2, 2\)"):
        metrics.score(np.zeros((2, 2)), np.zeros(3, int))


def test_the_calibration_error_is_the_one_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.65, 0.35], [0.0, 1.0]])
    labels = np.array([0, 1, 0, 1])
    bins = metrics.reliability(probabilities, labels)
    assert [each.tracks for each in bins] == [0, 0, 0, 0, 0, 0, 1, 0, 0, 3]
    assert bins[9].confidence == pytest.approx(2.87 / 3)
    assert bins[9].accuracy == pytest.approx(2 / 3)
    by_hand = (abs(0.65 - 1) + 3 * abs(2.87 / 3 - 2 / 3)) / 4
    assert metrics.calibration_error(bins) == pytest.approx(by_hand)
    expected = log_loss(labels, probabilities)
    assert metrics.log_loss(probabilities, labels) == pytest.approx(expected, abs=1e-6)


def test_shares_have_wilsons_interval():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 and 15 of 148.
    for right, tracks, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert metrics.share_interval(right, tracks) == pytest.approx((low, high), abs=1e-4)
    assert metrics.share_interval(12, 12) == pytest.approx((0.7575, 1.0), abs=1e-4)


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
    assert metrics.macro_f1_interval(confusion) == pytest.approx(tuple(expected), abs=0.03)
    assert metrics.macro_f1_interval(np.diag([20, 20, 0])) == (1.0, 1.0)  # the third does not count
    assert metrics.macro_f1_interval(np.diag([5, 5, 0])) is None
