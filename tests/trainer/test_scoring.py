import numpy as np
import pytest

from components.trainer.scoring import (
    mean_probabilities,
    score,
    track_scores,
    window_scores,
)


def test_scores_agree_with_scikit_learn():
    from sklearn import metrics

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    probabilities = rng.dirichlet(np.ones(4), 60)
    found, answers = score(probabilities, labels), probabilities.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, answers))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, answers, average="macro"))
    assert found.loss == pytest.approx(metrics.log_loss(labels, probabilities))
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, answers))


def test_a_track_is_judged_by_the_mean_of_its_windows():
    windows = np.array([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]])
    assert track_scores(windows, np.array([0])).accuracy == 1.0
    assert window_scores(windows, np.array([0])).accuracy == pytest.approx(1 / 3)


def test_an_ensemble_is_the_mean_of_its_branches():
    one, other = np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])
    np.testing.assert_allclose(mean_probabilities([one, one, other]), [[0.6, 0.4]])
    with pytest.raises(ValueError, match=r"branches of one shape\. Received"):
        mean_probabilities([one, np.zeros((2, 2))])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(2, 2\)"):
        score(np.zeros((2, 2)), np.zeros(3, int))
