"""MLflow as the local runner watches it: where the store is, and what a failed run leaves."""

import dataclasses
import shutil

import mlflow
import pytest

from components.common.errors import UserError
from components.common.tracking import PipelineRuns
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import tracking_store
from pipeline.local.stages import Output, StageResult
from pipeline.local.tracking import fail_run, open_run, shortcomings
from tests.run_recorder.conftest import free_port


@pytest.fixture
def config(mlflow_database, tmp_path) -> PipelineConfig:
    """A run with an MLflow store in its output folder."""
    shutil.copy(mlflow_database, tmp_path)
    return PipelineConfig(data=DataConfig("music"), output=str(tmp_path))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # what a test sets goes with it
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    yield
    mlflow.set_tracking_uri(None)


def runs_of(config: PipelineConfig) -> dict:
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    runs = client.search_runs([experiment.experiment_id])
    return {run.info.run_name.split()[0]: run for run in runs}


def test_what_a_split_was_made_of_is_told_where_it_was_given(config):
    data = DataConfig("music", split="listed", split_lists="lists", split_family="filtered")
    config = dataclasses.replace(config, data=data)
    open_run(config, "abc", "one", "store")
    params = runs_of(config)["pipeline"].data.params
    assert (params["split"], params["split_lists"]) == ("listed", "lists")
    assert params["split_family"] == "filtered"
    assert params["data_fingerprint"] == "abc"
    assert "artists" not in params


def test_a_failed_pipeline_leaves_no_run_that_seems_to_go_on(config):
    open_run(config, "abc", "one", "store")
    uri = tracking_store.tracking_uri(config)
    other = PipelineRuns(uri, experiment="gatefold", run_id="other")
    PipelineRuns(uri, experiment="gatefold", run_id="one").branch_run("cnn")
    other.branch_run("lstm")
    fail_run(config, "one")
    states = {name: run.info.status for name, run in runs_of(config).items() if name != "pipeline"}
    assert states == {"cnn": "FAILED", "lstm": "RUNNING"}
    ours = mlflow.MlflowClient(uri).get_run(runs_of(config)["cnn"].data.tags["mlflow.parentRunId"])
    assert ours.info.status == "FAILED"


def test_what_a_killed_run_left_is_closed_by_the_next_run_of_its_store(config):
    uri = tracking_store.tracking_uri(config)
    open_run(config, "abc", "killed", "store")
    PipelineRuns(uri, experiment="gatefold", run_id="killed").branch_run("cnn")
    open_run(config, "abc", "elsewhere", "another store")  # on another machine, perhaps
    open_run(config, "abc", "next", "store")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("gatefold")
    states = {
        (run.data.tags["gatefold.run_id"], run.data.tags["gatefold.branch"]): run.info.status
        for run in client.search_runs([experiment.experiment_id])
    }
    assert states == {
        ("killed", "pipeline"): "KILLED",
        ("killed", "cnn"): "KILLED",
        ("elsewhere", "pipeline"): "RUNNING",
        ("next", "pipeline"): "RUNNING",
    }


@pytest.mark.parametrize(
    ("properties", "lines"),
    [
        ({"missing": "", "error": ""}, 0),
        ({"missing": "", "error": "no answer"}, 1),
        ({"missing": "cnn: 2 of 3 epochs\nlstm: 1 of 3 epochs", "error": ""}, 3),
    ],
)
def test_what_the_record_lacks_is_told_at_the_end(properties, lines):
    result = StageResult("RunRecorder", False, 1.0, {"record": [Output("/record", properties)]})
    told = shortcomings(result)
    assert len(told) == lines
    for text in properties.values():
        assert all(line in "\n".join(told) for line in text.splitlines())


def test_an_unreachable_server_is_named_at_once():
    with pytest.raises(UserError, match=r"--mlflow-uri.*127\.0\.0\.1"):
        tracking_store.check_reachable(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "uri",
    [
        *("localhost:5000", "127.0.0.1:5000", "htpp://localhost", "./mlruns"),
        *("http://localhost:99999", "http://localhost:abc", "http://", "http://[::1"),
    ],
)
def test_what_is_no_uri_is_answered_with_how_one_looks(uri):
    with pytest.raises(UserError, match=r"http://localhost:5000.*sqlite:////.*Received: ") as seen:
        tracking_store.check_reachable(uri)
    assert str(seen.value).endswith(uri)


@pytest.mark.parametrize("uri", ["sqlite:////folder/mlflow.db", "postgresql+psycopg2://u@host/db"])
def test_a_database_is_left_to_mlflow(uri):
    tracking_store.check_reachable(uri)


def test_the_flag_goes_before_the_environment(monkeypatch, tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path))
    assert tracking_store.tracking_uri(config).startswith("sqlite:///")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment")
    assert tracking_store.tracking_uri(config) == "http://from-environment"
    named = dataclasses.replace(config, mlflow_uri="http://from-flag")
    assert tracking_store.tracking_uri(named) == "http://from-flag"
