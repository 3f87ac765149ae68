"""MLflow as the local runner watches it: where the store is, and what a run leaves in it."""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import mlflow
import pytest
from matplotlib.figure import Figure

from components.common import browser
from components.common.errors import UserError
from components.common.tracking import PipelineRuns
from pipeline import config_file
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import mlflow_store
from pipeline.local.stages import Output, StageResult
from pipeline.local.tracking import fail_run, open_run, shortcomings
from tests.conftest import ROOT


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


def runs_of(config: PipelineConfig) -> dict[tuple[str, str], mlflow.entities.Run]:
    """MLflow's runs by id of the pipeline's run and by branch."""
    client = mlflow.MlflowClient(mlflow_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    return {
        (run.data.tags["gatefold.run_id"], run.data.tags["gatefold.branch"]): run
        for run in client.search_runs([experiment.experiment_id])
    }


def test_runs_have_the_data_s_parameters_and_end_as_they_ended(config):
    data = DataConfig("music", split="listed", split_lists="lists", split_family="filtered")
    config = dataclasses.replace(config, data=data)
    uri = mlflow_store.tracking_uri(config)
    open_run(config, "abc", "killed", "store")
    PipelineRuns(uri, experiment="gatefold", run_id="killed").branch_run("cnn")
    open_run(config, "abc", "elsewhere", "another store")  # on another machine, perhaps
    (config.local_folder / config_file.FILE).write_text("data: music")
    open_run(config, "abc", "failed", "store")
    PipelineRuns(uri, experiment="gatefold", run_id="failed").branch_run("cnn")
    fail_run(config, "failed")
    runs = runs_of(config)
    assert {run: runs[run].info.status for run in runs} == {
        ("killed", "pipeline"): "KILLED",
        ("killed", "cnn"): "KILLED",
        ("elsewhere", "pipeline"): "RUNNING",
        ("failed", "pipeline"): "FAILED",
        ("failed", "cnn"): "FAILED",
    }
    params = runs["failed", "pipeline"].data.params
    assert (params["split"], params["split_lists"]) == ("listed", "lists")
    assert (params["split_family"], params["data_fingerprint"]) == ("filtered", "abc")
    assert "artists" not in params
    (data_set,) = runs["failed", "pipeline"].inputs.dataset_inputs
    assert (data_set.dataset.name, data_set.dataset.digest) == ("music", "abc")
    assert len(runs["failed", "pipeline"].data.tags["mlflow.source.git.commit"]) == 40
    (file,) = mlflow.MlflowClient(uri).list_artifacts(runs["failed", "pipeline"].info.run_id)
    assert file.path == config_file.FILE


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


@pytest.mark.parametrize(
    "uri",
    [
        *("localhost:5000", "htpp://localhost", "./mlruns", "http://", "http://[::1"),
        *("http://localhost:99999", "http://localhost:abc"),
    ],
)
def test_what_is_no_uri_is_answered_with_how_one_looks(uri):
    with pytest.raises(UserError, match=r"http://localhost:5000.*sqlite:////.*Received: ") as seen:
        mlflow_store.check_reachable(uri)
    assert str(seen.value).endswith(uri)


@pytest.mark.parametrize("uri", ["sqlite:////folder/mlflow.db", "postgresql+psycopg2://u@host/db"])
def test_a_database_is_left_to_mlflow(uri):
    mlflow_store.check_reachable(uri)


@contextlib.contextmanager
def held(file):
    """Another program is writing."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.parametrize("harm", ["folder", "no database", "held"])
def test_a_store_that_cannot_be_used_is_named_at_once(config, harm):
    file = config.local_folder / mlflow_store.DATABASE_FILE
    with contextlib.ExitStack() as stack:
        if harm == "held":
            stack.enter_context(held(file))
        elif harm == "folder":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes(b"notes" * 1000)
        with pytest.raises(UserError, match=f"MLflow's store {file} cannot be used"):
            mlflow_store.check_reachable(mlflow_store.tracking_uri(config))


def test_a_store_of_another_version_of_mlflow_is_a_sentence(config):
    file = config.local_folder / mlflow_store.DATABASE_FILE
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(UserError, match=r"MLflow cannot use its store: .*ffffffffffff"):
        open_run(config, "abc", "run", "store")


def test_the_flag_goes_before_the_environment(monkeypatch, tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path))
    assert mlflow_store.tracking_uri(config).startswith("sqlite:///")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment")
    assert mlflow_store.tracking_uri(config) == "http://from-environment"
    named = dataclasses.replace(config, mlflow_uri="http://from-flag")
    assert mlflow_store.tracking_uri(named) == "http://from-flag"


def test_pictures_are_found_where_the_folder_was_moved_to(mlflow_database, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new place"
    assert mlflow_store.follow(tmp_path) == 0  # without a store
    old.mkdir()
    shutil.copy(mlflow_database, old)
    client = mlflow.MlflowClient(f"sqlite:///{old}/mlflow.db")
    experiment = client.create_experiment("gatefold", artifact_location=(old / "mlruns").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_figure(run, Figure(), "curve.png")
    old.rename(new)
    assert mlflow_store.follow(new) == 2  # the experiment and its run
    client = mlflow.MlflowClient(f"sqlite:///{new}/mlflow.db")
    assert [file.path for file in client.list_artifacts(run)] == ["curve.png"]
    client.download_artifacts(run, "curve.png", str(tmp_path))
    assert (tmp_path / "curve.png").stat().st_size
    assert mlflow_store.follow(new) == 0
    assert mlflow_store.page_of_runs(new) == f"/#/experiments/{experiment}/runs"


def test_mlflow_opens_on_the_training_runs_and_ends_with_ctrl_c(config):
    open_run(config, "abc", "run", "store")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.local.mlflow_store", config.output, "--port", str(port)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DISPLAY"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert f"http://localhost:{port}/#/experiments/1/runs" in process.stdout.readline()
        while process.poll() is None and not browser.answers(port):
            time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as health:
            assert health.status == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path):
    (tmp_path / "mlflow.partial").write_bytes(b"tables that a kill left half made")
    mlflow_store.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mlflow_store.DATABASE_FILE]
    client = mlflow.MlflowClient(mlflow_store.uri(tmp_path))
    client.create_experiment("gatefold")
    mlflow_store.create(tmp_path)
    assert client.get_experiment_by_name("gatefold")
