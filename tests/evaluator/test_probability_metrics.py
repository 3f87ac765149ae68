"""Figures of probabilities equal scikit-learn's, overall and in every slice that TFMA makes."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics

from components.common import bands, calibration, evaluator_figures
from components.evaluator.judgement import eval_config

GENRES = ("Köln [live]", "R&B", "新 音", "jazz")
TRACKS = 40


@pytest.fixture(scope="module")
def tracks() -> pd.DataFrame:
    """Answers that are better than chance, for tracks of three genres of four."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=TRACKS)
    weights = rng.dirichlet(np.ones(4), size=TRACKS) + 0.3 * np.eye(4)[labels]
    levels = rng.uniform(-35, -5, size=TRACKS)
    reaches = rng.choice([3900.0, 8000.0, 11_025.0], size=TRACKS)
    rates = rng.choice([8000, 22_050, 44_100], size=TRACKS)
    named = [
        bands.of_track(rms_db=level, bandwidth_hz=reach, source_sample_rate_hz=rate)
        for level, reach, rate in zip(levels, reaches, rates, strict=True)
    ]
    return pd.DataFrame(
        {
            "genre": [GENRES[label] for label in labels],
            "label": labels,
            "probabilities": list((weights / weights.sum(axis=1, keepdims=True)).astype("f4")),
            **{name: [one[name] for one in named] for name in bands.SLICES},
        }
    )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, tracks) -> str:
    config = eval_config(GENRES)
    # The answers are given, so that no model is asked.
    del config.model_specs[0].preprocessing_function_names[:]
    config.model_specs[0].ClearField("signature_name")
    folder = str(tmp_path_factory.mktemp("evaluation"))
    tfma.analyze_raw_data(tracks, config, output_path=folder)
    return folder


def expected(tracks: pd.DataFrame) -> dict[str, float]:
    """By scikit-learn; the calibration error, which it lacks, by hand."""
    probabilities, labels = np.stack(tracks["probabilities"]), tracks["label"].to_numpy()
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.ceil(confidence * 10)
    gaps = [
        np.sum(place == number) * abs(np.mean((confidence - right)[place == number]))
        for number in np.unique(place)
    ]
    every = range(len(GENRES))
    wrong = probabilities - np.eye(len(GENRES))[labels]
    return {
        "example_count": len(tracks),
        "sparse_categorical_accuracy": right.mean(),
        "top_3_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=3, labels=every),
        "log_loss": metrics.log_loss(labels, probabilities.astype("f8"), labels=every),
        "brier": np.mean(np.sum(wrong**2, axis=1)),
        "ece": sum(gaps) / len(tracks),
        "macro_f1": metrics.f1_score(labels, probabilities.argmax(axis=1), average="macro"),
    }


@pytest.mark.filterwarnings("ignore:.*do not sum to one:UserWarning")
def test_overall_figures_are_scikit_learn_s(evaluation, tracks):
    assert evaluator_figures.figures(evaluation) == pytest.approx(expected(tracks), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*do not sum to one:UserWarning")
def test_every_slice_has_the_figures_of_its_tracks(evaluation, tracks):
    rows = {(row.slice, row.value): row for row in evaluator_figures.slices(evaluation)}
    groups = {
        (name, value): group
        for name in ("genre", *bands.SLICES)
        for value, group in tracks.groupby(name)
    }
    assert rows.keys() == groups.keys()
    for key, group in groups.items():
        assert rows[key].tracks == len(group)
        assert rows[key].figures == pytest.approx(expected(group), abs=1e-5), key


def test_every_genre_has_its_area_under_the_curve(evaluation, tracks):
    probabilities, labels = np.stack(tracks["probabilities"]), tracks["label"].to_numpy()
    rows = evaluator_figures.by_genre(evaluation, GENRES)
    for index, row in enumerate(rows[:3]):
        area = metrics.roc_auc_score(labels == index, probabilities[:, index])
        assert row.auc == pytest.approx(area, abs=1e-6)
        predicted = probabilities.argmax(axis=1)
        assert row.f1 == pytest.approx(metrics.f1_score(labels == index, predicted == index))
    assert rows[3].tracks == 0 and np.isnan(rows[3].auc)


def test_a_model_that_answers_no_numbers_has_no_figure_that_is_one():
    labels = np.array([0, 1])
    assert np.isnan(calibration.figures(np.full((2, 4), np.nan), labels).ece)
