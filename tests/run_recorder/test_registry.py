"""Versions and aliases of the registered model, in MLflow's own store."""

import dataclasses

import mlflow
import pytest

from components.common.tracking import RUN_ID_TAG, PipelineRuns
from components.run_recorder.outcome import Outcome
from components.run_recorder.registry import (
    CHALLENGER,
    CHAMPION,
    CHECKSUM_TAG,
    JUDGED_TAG,
    PRODUCTION_TAG,
    Candidate,
    from_judgement,
    register,
)

CNN = Candidate("cnn", "/artifacts/cnn", "a" * 64, True, accuracy=0.6, loss=1.0)
LSTM = Candidate("lstm", "/artifacts/lstm", "b" * 64, False, ("baseline",), accuracy=0.5, loss=0.9)
ANN = Candidate("ann", "/artifacts/ann", "c" * 64, False, ("accuracy", "ece"), accuracy=0.5, loss=2)
PUSHED = Outcome(chosen="cnn", pushed_to="/serving/genre/7", version="7")
NOTHING = Outcome(chosen="none", pushed_to="none")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"


class Registered:
    """A registered model of one test's own."""

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name
        self.client = mlflow.MlflowClient(uri)

    def run(self, run_id: str, *candidates: Candidate, outcome=PUSHED, production="") -> None:
        register(
            PipelineRuns(self.uri, experiment="gatefold", run_id=run_id),
            self.name,
            candidates,
            outcome,
            production=production,
            tags={"data": "/music", "data_synthetic": True},
        )

    def versions(self) -> dict[str, object]:
        found = self.client.search_model_versions(f"name = '{self.name}'")
        by_model = {version.tags["model"]: version for version in found}
        assert len(by_model) == len(found)
        return by_model

    def alias(self, alias: str) -> str | None:
        """The model that has an alias."""
        number = self.client.get_registered_model(self.name).aliases.get(alias)
        if number is None:
            return None
        return self.client.get_model_version(self.name, number).tags["model"]


@pytest.fixture
def genre(store, request) -> Registered:
    return Registered(store, request.node.name)


def test_every_candidate_is_a_version_with_its_verdict(genre):
    genre.run("run-1", CNN, LSTM, ANN)
    versions = genre.versions()
    assert set(versions) == {"cnn", "lstm", "ann"}
    cnn, ann = versions["cnn"], versions["ann"]
    assert cnn.source == "/artifacts/cnn"
    assert (
        cnn.tags
        | {
            "gate": "passed",
            "gate.failed": "",
            CHECKSUM_TAG: "a" * 64,
            RUN_ID_TAG: "run-1",
            "data": "/music",
            "data_synthetic": "True",
            PRODUCTION_TAG: "7",
        }
        == cnn.tags
    )
    assert (ann.tags["gate"], ann.tags["gate.failed"]) == ("failed", "accuracy, ece")
    assert PRODUCTION_TAG not in ann.tags
    run = genre.client.get_run(cnn.run_id)
    assert run.info.run_name == "cnn" and run.data.tags[RUN_ID_TAG] == "run-1"


def test_an_again_run_adds_no_version_and_a_new_verdict_is_kept(genre):
    genre.run("run-1", CNN, LSTM)
    before = genre.versions()
    genre.run("run-2", CNN, dataclasses.replace(LSTM, blessed=True, failed=()))
    after = genre.versions()
    assert {name: one.version for name, one in after.items()} == {
        name: one.version for name, one in before.items()
    }
    assert after["lstm"].tags["gate"] == "passed" and after["lstm"].tags["gate.failed"] == ""
    assert (after["lstm"].tags[RUN_ID_TAG], after["lstm"].tags[JUDGED_TAG]) == ("run-1", "run-2")


def test_aliases_are_the_version_in_production_and_the_best_refused_one(genre):
    genre.run("run-1", LSTM, CNN, ANN)
    assert genre.alias(CHAMPION) == "cnn"
    assert genre.alias(CHALLENGER) == "lstm"  # as accurate as ann, with a lower loss


def test_champion_moves_with_the_push_only(genre):
    genre.run("run-1", CNN)
    better = dataclasses.replace(LSTM, blessed=True, failed=())
    not_pushed = Outcome(chosen="lstm", pushed_to="none", reason="it was withdrawn")
    genre.run("run-2", better, outcome=not_pushed, production=CNN.checksum)
    assert genre.alias(CHAMPION) == "cnn"
    genre.run("run-3", ANN, outcome=NOTHING)
    assert (genre.alias(CHAMPION), genre.alias(CHALLENGER)) == ("cnn", "ann")
    genre.run("run-4", better, outcome=dataclasses.replace(PUSHED, chosen="lstm", version="8"))
    assert genre.alias(CHAMPION) == "lstm"
    assert genre.versions()["lstm"].tags[PRODUCTION_TAG] == "8"


def test_before_anything_is_pushed_there_is_no_champion(genre):
    genre.run("run-1", LSTM, outcome=NOTHING)
    assert genre.alias(CHAMPION) is None and genre.alias(CHALLENGER) == "lstm"


def test_a_challenger_that_is_pushed_challenges_no_more(genre):
    genre.run("run-1", LSTM, outcome=NOTHING)
    genre.run(
        "run-2",
        dataclasses.replace(LSTM, blessed=True, failed=()),
        outcome=dataclasses.replace(PUSHED, chosen="lstm"),
    )
    assert genre.alias(CHAMPION) == "lstm" and genre.alias(CHALLENGER) is None


def test_after_a_rollback_the_next_run_moves_champion_back(genre):
    genre.run("run-1", CNN)
    better = dataclasses.replace(LSTM, blessed=True, failed=())
    genre.run("run-2", better, outcome=dataclasses.replace(PUSHED, chosen="lstm"))
    # `serving.release rollback` published cnn again; this run finds it in production.
    genre.run("run-3", ANN, outcome=NOTHING, production=CNN.checksum)
    assert genre.alias(CHAMPION) == "cnn"


def test_what_is_in_production_does_not_challenge_itself(genre):
    genre.run("run-1", CNN)
    refused = dataclasses.replace(CNN, blessed=False, failed=("latency",))
    genre.run("run-2", refused, outcome=NOTHING, production=CNN.checksum)
    assert genre.alias(CHAMPION) == "cnn" and genre.alias(CHALLENGER) is None
    genre.run("run-3", refused, ANN, outcome=NOTHING, production=CNN.checksum)
    assert genre.alias(CHALLENGER) == "ann"


def test_a_model_without_a_checksum_is_one_version_by_its_place(genre):
    broken = dataclasses.replace(ANN, checksum="", accuracy=None, loss=None)
    genre.run("run-1", broken, outcome=NOTHING)
    genre.run("run-2", broken, outcome=NOTHING)
    assert set(genre.versions()) == {"ann"}


def test_candidates_are_read_from_a_judgement_with_gaps():
    judgement = {
        "models": {
            "cnn": {
                "blessed": False,
                "checksum": None,
                "gates": [{"gate": "accuracy", "passed": False}, {"gate": "ece", "passed": True}],
                "validation": None,
            }
        }
    }
    assert from_judgement(judgement, {"cnn": "/a"}) == [
        Candidate("cnn", "/a", "", False, ("accuracy",))
    ]
