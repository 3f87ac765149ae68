"""Which model is released: blessed by the test split, chosen by the validation split."""

import dataclasses

from components.model_selector.selection import Candidate, best, reason

CANDIDATE = Candidate(
    model="cnn",
    validation_accuracy=0.6,
    validation_loss=1.0,
    validation_tracks=11,
    tracks=12,
    accuracy=0.7,
    accuracy_interval=(0.4, 0.9),
    macro_f1=0.7,
    macro_f1_interval=(0.4, 0.9),
    latency_ms=200.0,
    blessed=True,
)
ROW = {
    "title": "Accuracy",
    "figure": 0.25,
    "interval": [0.1, 0.5],
    "threshold": 0.5,
    "direction": "at least",
    "detail": "",
}


def candidate(model: str, **changes) -> Candidate:
    return dataclasses.replace(CANDIDATE, model=model, **changes)


def test_validation_decides_and_the_test_split_does_not():
    better_on_test = candidate("lstm", validation_loss=1.1, accuracy=1.0, macro_f1=1.0)
    assert best([better_on_test, CANDIDATE]) is CANDIDATE


def test_within_one_standard_error_of_accuracy_the_lower_loss_wins_however_slow():
    sure = candidate("lstm", validation_accuracy=0.5, validation_loss=0.5, latency_ms=900.0)
    assert best([CANDIDATE, sure]) is sure
    worse = dataclasses.replace(sure, validation_accuracy=0.4)
    assert best([CANDIDATE, worse]) is CANDIDATE
    # One error of 20 tracks is luck, one of 1000 is not.
    for tracks, winner in ((20, "lstm"), (1000, "cnn")):
        perfect = candidate("cnn", validation_accuracy=1.0, validation_tracks=tracks)
        almost = dataclasses.replace(sure, validation_accuracy=0.95, validation_tracks=tracks)
        assert best([perfect, almost]).model == winner


def test_ties_go_to_the_faster_one_and_then_to_the_first():
    fast = candidate("lstm", validation_loss=1.005, latency_ms=50.0)
    unknown = candidate("ann", latency_ms=None)
    assert best([CANDIDATE, unknown, fast]) is fast
    assert best([CANDIDATE, candidate("lstm")]) is CANDIDATE


def test_what_is_not_blessed_is_never_chosen():
    refused = candidate("lstm", validation_accuracy=1.0, blessed=False)
    assert best([refused, CANDIDATE]) is CANDIDATE
    assert best([refused]) is None


def test_without_validation_figures_a_model_comes_last():
    unknown = candidate("lstm", validation_accuracy=None, validation_loss=None)
    assert best([unknown, CANDIDATE]) is CANDIDATE
    diverged = candidate("ann", validation_loss=float("nan"))
    assert best([diverged, CANDIDATE]) is CANDIDATE
    assert best([unknown]) is unknown


def test_a_reason_has_figure_interval_and_threshold():
    assert reason(ROW) == "Accuracy: 0.250 (0.10 to 0.50), at least 0.500 is needed"
    missing = {**ROW, "figure": None, "detail": "not computed: the disk burnt"}
    assert reason(missing) == "Accuracy: not computed: the disk burnt"
