"""Versions and the alias of the registered model, in MLflow's own store."""

from typing import Any

import mlflow
import pytest

from components.common.tracking import RUN_ID_TAG, PipelineRuns
from components.run_recorder.outcome import Outcome
from components.run_recorder.registry import (
    CHAMPION,
    CHECKSUM_TAG,
    JUDGED_TAG,
    PRODUCTION_TAG,
    register,
)

NOTHING = Outcome(chosen="none", pushed_to="none")


def pushed(model: str, version: str = "7") -> Outcome:
    return Outcome(chosen=model, pushed_to=f"/serving/genre/{version}", version=version)


def judged(checksum: str, *failed: str) -> dict[str, Any]:
    """A model's part of the gate's report."""
    return {
        "blessed": not failed,
        "checksum": checksum,
        "gates": [{"gate": "latency", "passed": True}]
        + [{"gate": gate, "passed": False} for gate in failed],
        "validation": {"accuracy": 0.5, "loss": None},
    }


CNN = judged("a" * 64)
LSTM = judged("b" * 64, "baseline")
ANN = judged("c" * 64, "accuracy", "ece")
BETTER_LSTM = judged("b" * 64)


class Registered:
    """A registered model of one test's own."""

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name
        self.client = mlflow.MlflowClient(uri)

    def run(self, run_id: str, outcome: Outcome, production: str = "", **models: dict) -> None:
        register(
            PipelineRuns(self.uri, experiment="gatefold", run_id=run_id),
            self.name,
            {"models": models, "production": {"checksum": production}},
            outcome,
            sources={model: f"/artifacts/{model}" for model in models},
            tags={"data": "/music", "data_synthetic": True},
        )

    def versions(self) -> dict[str, Any]:
        found = self.client.search_model_versions(f"name = '{self.name}'")
        by_model = {version.tags["model"]: version for version in found}
        assert len(by_model) == len(found)
        return by_model

    def champion(self) -> str | None:
        number = self.client.get_registered_model(self.name).aliases.get(CHAMPION)
        if number is None:
            return None
        return self.client.get_model_version(self.name, number).tags["model"]


@pytest.fixture
def genre(store, request) -> Registered:
    return Registered(store, request.node.name)


def test_every_judged_model_is_a_version_with_its_verdict(genre):
    genre.run("run-1", pushed("cnn"), cnn=CNN, ann=ANN, broken=judged("", "answers"))
    versions = genre.versions()
    assert set(versions) == {"cnn", "ann"}, "the files of the third could not be read"
    cnn, ann = versions["cnn"], versions["ann"]
    assert cnn.source == "/artifacts/cnn"
    expected = {
        "gate": "passed",
        "gate.failed": "",
        CHECKSUM_TAG: "a" * 64,
        RUN_ID_TAG: "run-1",
        "data": "/music",
        "data_synthetic": "True",
        PRODUCTION_TAG: "7",
        "validation_accuracy": "0.5",
    }
    assert cnn.tags | expected == cnn.tags
    assert (ann.tags["gate"], ann.tags["gate.failed"]) == ("failed", "accuracy, ece")
    assert PRODUCTION_TAG not in ann.tags
    run = genre.client.get_run(cnn.run_id)
    assert run.info.run_name == "cnn" and run.data.tags[RUN_ID_TAG] == "run-1"


def test_a_repeated_run_adds_no_version_and_a_new_verdict_is_kept(genre):
    genre.run("run-1", pushed("cnn"), cnn=CNN, lstm=LSTM)
    before = genre.versions()
    genre.run("run-2", pushed("cnn"), cnn=CNN, lstm=BETTER_LSTM)
    after = genre.versions()
    assert {name: each.version for name, each in after.items()} == {
        name: each.version for name, each in before.items()
    }
    assert "run run-2, which passed the gate: [release report](#/exp" in after["lstm"].description
    assert after["lstm"].tags["gate"] == "passed" and after["lstm"].tags["gate.failed"] == ""
    assert (after["lstm"].tags[RUN_ID_TAG], after["lstm"].tags[JUDGED_TAG]) == ("run-1", "run-2")


def test_champion_moves_with_the_push_only(genre):
    genre.run("run-0", NOTHING, lstm=LSTM)
    assert genre.champion() is None
    genre.run("run-1", pushed("cnn"), cnn=CNN)
    withdrawn = Outcome(chosen="lstm", pushed_to="none", reason="it was withdrawn")
    genre.run("run-2", withdrawn, production=CNN["checksum"], lstm=BETTER_LSTM)
    genre.run("run-3", NOTHING, ann=ANN)
    assert genre.champion() == "cnn"
    genre.run("run-4", pushed("lstm", "8"), lstm=BETTER_LSTM)
    assert genre.champion() == "lstm"
    assert genre.versions()["lstm"].tags[PRODUCTION_TAG] == "8"
    # `serving.release rollback` published cnn again; the next run finds it in production.
    genre.run("run-5", NOTHING, production=CNN["checksum"], ann=ANN)
    assert genre.champion() == "cnn"
