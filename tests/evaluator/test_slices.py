"""TFMA's figures of given answers equal scikit-learn's, whatever the genres are called."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics

from components.common import bands, evaluator_figures
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
    config = eval_config()
    # The answers are given, so that no model is asked.
    del config.model_specs[0].preprocessing_function_names[:]
    config.model_specs[0].ClearField("signature_name")
    folder = str(tmp_path_factory.mktemp("evaluation"))
    tfma.analyze_raw_data(tracks, config, output_path=folder)
    return folder


def expected(tracks: pd.DataFrame) -> dict[str, float]:
    """By scikit-learn."""
    probabilities, labels = np.stack(tracks["probabilities"]), tracks["label"].to_numpy()
    genres = range(len(GENRES))
    return {
        "example_count": len(tracks),
        "sparse_categorical_accuracy": (probabilities.argmax(axis=1) == labels).mean(),
        "top_3_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=3, labels=genres),
        "log_loss": metrics.log_loss(labels, probabilities.astype("f8"), labels=genres),
    }


@pytest.mark.filterwarnings("ignore:.*do not sum to one:UserWarning")
def test_the_whole_and_every_slice_have_the_figures_of_their_tracks(evaluation, tracks):
    assert evaluator_figures.figures(evaluation) == pytest.approx(expected(tracks), abs=1e-5)
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
