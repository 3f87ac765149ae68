import numpy as np
import pytest

from components.common.scoring import (
    mean_probabilities,
    score,
    track_means,
    track_scores,
    window_scores,
)


def test_scores_of_a_small_example_are_those_by_hand():
    labels = np.array([0, 0, 1, 2])
    predicted = np.array([0, 1, 1, 1])
    probabilities = np.full((4, 4), 0.1)
    probabilities[np.arange(4), predicted] = 0.7
    scores = score(probabilities, labels)
    assert scores.accuracy == 0.5
    # F1 of genre 0 is 2/3, of genre 1 is 2/4, of genre 2 is 0; genre 3 does not occur.
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores.loss == pytest.approx(-(2 * np.log(0.7) + 2 * np.log(0.1)) / 4)
    np.testing.assert_array_equal(
        scores.confusion, [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    )


def test_a_track_is_judged_by_the_mean_of_its_windows():
    windows = np.array([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]])
    every = np.ones((1, 3), bool)
    assert track_scores(windows, np.array([0]), every).accuracy == 1.0
    assert window_scores(windows, np.array([0]), every).accuracy == pytest.approx(1 / 3)


def test_windows_beyond_the_sound_are_in_no_score():
    """Two windows of sound; the third is what a network makes of nothing."""
    windows = np.array([[[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]]])
    counts = np.array([[True, True, False]])
    np.testing.assert_allclose(track_means(windows, counts), [[0.6, 0.4]])
    assert track_scores(windows, np.array([0]), counts).accuracy == 1.0
    assert window_scores(windows, np.array([0]), counts).accuracy == 1.0


def test_an_ensemble_is_the_mean_of_its_branches():
    one, other = np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])
    np.testing.assert_allclose(mean_probabilities([one, one, other]), [[0.6, 0.4]])
    with pytest.raises(ValueError, match=r"branches of one shape\. Received"):
        mean_probabilities([one, np.zeros((2, 2))])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(2, 2\)"):
        score(np.zeros((2, 2)), np.zeros(3, int))
