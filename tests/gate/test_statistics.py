"""Figures against scikit-learn's and SciPy's, and what chance does to them with few tracks."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from components.common import calibration, temperature
from components.gate import paired, statistics

GENRES = 5


def answers(tracks: int, *, skill: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [tracks, 5] that know something of the labels, and the labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, GENRES, tracks)
    logits = generator.normal(size=(tracks, GENRES)) + skill * np.eye(GENRES)[labels]
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


def calibrated(tracks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that were drawn from them."""
    probabilities, _ = answers(tracks, seed=seed)
    generator = np.random.default_rng(seed + 1)
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float64)
    labels = np.array([generator.choice(GENRES, p=row / row.sum()) for row in probabilities])
    return probabilities, labels


def test_figures_are_scikit_learn_s():
    probabilities, labels = answers(200)
    predicted = probabilities.argmax(axis=1)
    figures = {name: one.value for name, one in statistics.overall(probabilities, labels).items()}
    squares = ((probabilities - np.eye(GENRES)[labels]) ** 2).sum(axis=1)
    exact = probabilities.astype(np.float64)
    assert figures == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(labels, predicted),
            "top_3_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=3),
            "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
            "log_loss": metrics.log_loss(labels, exact / exact.sum(axis=1, keepdims=True)),
            "ece": figures["ece"],  # scikit-learn has none; the next tests are about it
            "brier": squares.mean(),
        },
        abs=1e-6,
    )


def test_genres_are_scikit_learn_s():
    probabilities, labels = answers(200)
    report = metrics.classification_report(
        labels, probabilities.argmax(axis=1), output_dict=True, zero_division=np.nan
    )
    for index, row in enumerate(statistics.by_genre(probabilities, labels, list("abcde"))):
        assert row.recall == pytest.approx(report[str(index)]["recall"])
        assert row.precision == pytest.approx(report[str(index)]["precision"])
        assert row.auc == metrics.roc_auc_score(labels == index, probabilities[:, index])
        low, high = row.recall_interval
        assert low < row.recall < high


def test_a_genre_without_tracks_has_no_figures_and_takes_none_from_the_mean():
    probabilities = np.eye(3)[[0, 1, 1]] * 0.8 + 0.05
    labels = np.array([0, 1, 1])
    empty = statistics.by_genre(probabilities, labels, list("abc"))[2]
    assert (empty.tracks, empty.recall, empty.precision, empty.auc) == (0, None, None, None)
    assert statistics.overall(probabilities, labels)["macro_f1"].value == 1.0


def test_one_probability_that_is_no_number_leaves_no_figure():
    probabilities, labels = answers(20)
    probabilities[3, 1] = np.nan
    assert not any(one.exists for one in statistics.overall(probabilities, labels).values())


def test_equal_probabilities_for_all_genres_are_not_in_the_top_three():
    probabilities = np.full((4, GENRES), 1 / GENRES)
    figures = statistics.overall(probabilities, np.array([0, 1, 2, 3]))
    assert figures["top_3_accuracy"].value == 0.0


def test_intervals_hold_the_true_figures_in_most_samples():
    everything, all_labels = answers(20_000, skill=1.0, seed=99)
    names = ("log_loss", "brier", "macro_f1", "accuracy", "top_3_accuracy")
    truth = statistics.overall(everything, all_labels)
    held = dict.fromkeys(names, 0)
    for sample in range(20):
        chosen = np.random.default_rng(sample).choice(20_000, 100, replace=False)
        figures = statistics.overall(everything[chosen], all_labels[chosen], seed=sample)
        for name in names:
            low, high = figures[name].interval
            held[name] += low <= truth[name].value <= high
    assert min(held.values()) >= 15, held


def test_who_is_too_sure_has_a_calibration_error_of_the_gap():
    probabilities = np.tile([0.95, 0.05], (100, 1))
    labels = np.array([0] * 60 + [1] * 40)
    error = statistics.overall(probabilities, labels)["ece"]
    assert error.value == pytest.approx(0.35)
    low, high = error.interval
    assert low < 0.35 < high


@pytest.mark.parametrize("tracks", [12, 290])
def test_chance_explains_the_error_of_a_calibrated_model_and_not_of_one_too_sure(tracks):
    explained, found = 0, 0
    for seed in range(40):
        probabilities, labels = calibrated(tracks, seed)
        bound = statistics.calibration_error_by_chance(probabilities)
        explained += calibration.figures(probabilities, labels).ece <= bound
        # The same answers at a quarter of their temperature: right as often, and far too sure.
        sure = temperature.unscaled(probabilities, 4.0)
        bound = statistics.calibration_error_by_chance(sure)
        found += calibration.figures(sure, labels).ece > bound
    assert explained >= 34
    assert found >= 30


def test_mcnemar_counts_the_tracks_that_only_one_has_right():
    labels = np.zeros(12, int)
    candidate, reference = np.tile([0.9, 0.1], (12, 1)), np.tile([0.9, 0.1], (12, 1))
    candidate[:4] = [0.2, 0.8]  # wrong on four
    reference[3:5] = [0.4, 0.6]  # wrong on two, one of them shared
    result = paired.compare(candidate, reference, labels)
    assert (result.only_candidate, result.only_reference) == (1, 3)
    assert result.mcnemar_p == pytest.approx(2 * stats.binom.cdf(1, 4, 0.5))
    assert result.accuracy_chance == pytest.approx(stats.binom.cdf(1, 4, 0.5))
    assert result.accuracy_difference.value == pytest.approx(-2 / 12)
    low, high = result.accuracy_difference.interval
    assert low < -2 / 12 < 0 < high
    assert result.log_loss_difference.value > 0


def test_the_same_answers_are_no_worse_and_their_interval_is_no_point():
    probabilities, labels = answers(12)
    same = paired.compare(probabilities, probabilities, labels)
    assert same.accuracy_difference.value == same.log_loss_difference.value == 0
    assert same.accuracy_chance == same.log_loss_chance == same.mcnemar_p == 1
    assert same.accuracy_difference.interval[0] < 0 < same.accuracy_difference.interval[1]


def test_a_track_without_an_answer_is_wrong_and_changed():
    labels = np.array([0, 1, 2, 0])
    clean = 0.2 + 0.4 * np.eye(3)[labels]
    deformed = np.where(labels[:, np.newaxis] == 2, np.nan, clean)
    result = paired.robustness(clean, deformed, labels)
    assert result.accuracy.value == 0.75
    assert result.drop.value == result.changed.value == 0.25
    assert result.drop_chance == 0.5
    assert result.log_loss_increase.value == pytest.approx((np.log(3) + np.log(0.6)) / 4)
