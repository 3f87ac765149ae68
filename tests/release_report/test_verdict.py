"""The verdict in one sentence."""

import copy

import pytest

from components.release_report.verdict import verdict
from tests.release_report.conftest import waive
from tests.release_report.world import MODELS, judge


def test_a_chosen_model_may_go_into_production():
    assert verdict(judge({}), "musicnn") == (
        "musicnn may go into production: it passed all 7 gates, "
        "and is right on 9 of 12 test tracks."
    )


def test_a_waiver_is_part_of_the_verdict_and_its_gate_is_not_called_passed():
    sentence = verdict(waive(judge({})), "musicnn")
    assert "passed all 6 gates that could be judged, with a waiver (production)" in sentence


def test_a_gate_that_was_opened_is_part_of_the_verdict():
    loosened = [{"gate": "min_accuracy", "value": 0.0, "default": 0.5}]
    sentence = verdict(judge({}, loosened=loosened), "musicnn")
    assert "passed all 7 gates, with 1 threshold looser than the default" in sentence


def test_the_model_that_is_in_production_already_may_stay_there():
    judgement = judge({})
    judgement["models"]["cnn"]["against_production"]["same_model"] = True
    assert verdict(judgement, "cnn").startswith("cnn may stay in production: ")


def test_a_refusal_names_the_best_model_and_what_it_failed():
    judgement = judge(dict.fromkeys(MODELS, ("accuracy", "drop_mp3_64k")))
    assert verdict(judgement, None) == (
        "No model is released: musicnn, the best of 5 by validation, failed accuracy on the test "
        "split and drop with MP3 at 64 kbit/s."
    )


def test_of_many_failed_gates_the_first_are_named():
    gates = [gate["gate"] for gate in judge({})["models"]["cnn"]["gates"]]
    sentence = verdict(judge(dict.fromkeys(MODELS, tuple(gates))), None)
    assert sentence.endswith("calibration error and 3 more.")


def test_a_model_that_no_gate_judged_is_not_called_good():
    judgement = judge({"musicnn": ("accuracy",)})
    judgement["models"]["musicnn"]["gates"] = []
    assert verdict(judgement, None) == "No model is released: musicnn was judged by no gate."
    assert verdict({"models": {}}, None) == "No model is released: none was judged."


@pytest.mark.parametrize("missing", ["accuracy", "loss"])
def test_the_best_refused_model_is_found_where_validation_figures_are_missing(missing):
    judgement = copy.deepcopy(judge(dict.fromkeys(MODELS, ("accuracy",))))
    for name, judged in judgement["models"].items():
        if name != "lstm":
            judged["validation"][missing] = None
    if missing == "loss":  # of equal accuracy the one with a loss is better
        for judged in judgement["models"].values():
            judged["validation"]["accuracy"] = 0.5
    assert verdict(judgement, None).startswith("No model is released: lstm")
