"""MLflow: the runs that a pipeline leaves, read back through MLflow's own client."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma

from components.errors import UserError
from components.evaluator.judgement import eval_config
from components.gtzan.genres import GENRES
from pipeline import tracking_store
from pipeline.config import DataConfig, PipelineConfig
from pipeline.stages import Output, StageResult
from pipeline.tracking import Tracker

HISTORY = {
    "best_epoch": 1,
    "seconds": 12.5,
    "epochs": {
        "accuracy": [0.2, 0.5, 0.6],
        "loss": [2.0, 1.5, 1.2],
        "val_track_accuracy": [0.1, 0.4, 0.3],
        "val_window_accuracy": [0.1, 0.3, 0.3],
        "val_track_loss": [2.1, 1.7, 1.8],
    },
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    yield
    mlflow.set_tracking_uri(None)


def track_a_branch(config: PipelineConfig, tmp_path, *, cached: bool) -> None:
    folder = tmp_path / "model_run"
    folder.mkdir(exist_ok=True)
    (folder / "history.json").write_text(json.dumps(HISTORY))
    tracker = Tracker(config, data_fingerprint="abc")
    tracker.branch_started("cnn")
    outputs = {"model_run": [Output(str(folder), {})], "model": [Output("/somewhere", {})]}
    tracker.branch_trained("cnn", StageResult("Trainer-cnn", cached, 1.0, outputs))
    tracker.finished(chosen="cnn", pushed_to="/serving/genre/1")


def named(runs) -> dict:
    """Runs by name; the pipeline's own carries its time, too."""
    return {run.info.run_name.split()[0]: run for run in runs}


def test_a_branch_is_a_run_below_the_pipelines_run(tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path), seed=5)
    track_a_branch(config, tmp_path, cached=True)
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    (experiment,) = (e for e in client.search_experiments() if e.name == "gatefold")
    runs = named(client.search_runs([experiment.experiment_id]))
    branch, parent = runs["cnn"], runs["pipeline"]
    assert branch.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert branch.data.params["seed"] == "5"
    assert branch.data.params["data_fingerprint"] == "abc"
    assert branch.data.params["training.augmentation.mixup"]
    assert branch.data.metrics["best_val_track_accuracy"] == 0.4
    assert branch.data.metrics["best_val_window_accuracy"] == 0.3
    assert branch.data.tags["tfx.model"] == "/somewhere"
    curve = client.get_metric_history(branch.info.run_id, "val_track_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.1), (2, 0.4), (3, 0.3)]
    pictures = [file.path for file in client.list_artifacts(branch.info.run_id)]
    assert pictures == ["learning_curve.png"]
    assert parent.data.tags["pushed_to"] == "/serving/genre/1"
    assert (tmp_path / "mlflow.db").is_file() and (tmp_path / "mlruns").is_dir()


@pytest.fixture
def evaluation(tmp_path) -> str:
    """TFMA's, of three tracks: blues as blues, and jazz once as blues and once as jazz."""
    answers = [("blues", "blues"), ("jazz", "blues"), ("jazz", "jazz")]
    examples = pd.DataFrame(
        {
            "genre": [actual for actual, _ in answers],
            "label": [GENRES.index(actual) for actual, _ in answers],
            "probabilities": [
                [0.91 if name == predicted else 0.01 for name in GENRES] for _, predicted in answers
            ],
        }
    )
    config = eval_config(GENRES, minimum_accuracy=0.5, minimum_macro_f1=0.4)
    # Their answers are given, so that no model is asked.
    del config.model_specs[0].preprocessing_function_names[:]
    config.model_specs[0].ClearField("signature_name")
    folder = str(tmp_path / "evaluation")
    tfma.analyze_raw_data(examples, config, output_path=folder)
    return folder


def test_a_judged_branch_ends_with_its_test_figures_and_its_confusions(evaluation, tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path))
    tracker = Tracker(config, data_fingerprint="abc")
    tracker.branch_started("ensemble")
    outputs = {"evaluation": [Output(evaluation, {})]}
    tracker.branch_judged("ensemble", StageResult("Evaluator-ensemble", False, 1.0, outputs))
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    run = named(client.search_runs([experiment.experiment_id]))["ensemble"]
    assert run.info.status == "FINISHED"
    expected = {
        "test_track_example_count": 3,
        "test_track_sparse_categorical_accuracy": 2 / 3,
        "test_track_macro_f1": 2 / 3,
        "test_track_precision_blues": 0.5,
        "test_track_recall_blues": 1.0,
        "test_track_precision_jazz": 1.0,
        "test_track_recall_jazz": 0.5,
    }
    found = run.data.metrics
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert "test_track_precision_rock" not in found  # which nothing was taken for
    assert run.data.tags["tfx.evaluation"] == evaluation
    picture = client.download_artifacts(run.info.run_id, "confusion_matrix.png", str(tmp_path))
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_what_a_split_was_made_of_is_told_where_it_was_given(tmp_path):
    data = DataConfig("music", split="listed", split_lists="lists", split_family="filtered")
    config = PipelineConfig(data=data, output=str(tmp_path))
    Tracker(config, data_fingerprint="abc")
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    params = named(client.search_runs([experiment.experiment_id]))["pipeline"].data.params
    assert (params["split"], params["split_lists"]) == ("listed", "lists")
    assert params["split_family"] == "filtered"
    assert "artists" not in params


def test_trials_from_the_cache_are_in_the_store_too(tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path), trials=2)
    results = [
        {"trial_id": "1", "score": 0.5, "dropout": 0.1},
        {"trial_id": "0", "score": 0.4, "dropout": 0.3},
    ]
    (tmp_path / "tuner_results.json").write_text(json.dumps(results))
    tracker = Tracker(config, data_fingerprint="abc")
    tracker.branch_started("cnn")
    outputs = {"tuner_results": [Output(str(tmp_path), {})]}
    tracker.branch_tuned("cnn", StageResult("Tuner-cnn", True, 1.0, outputs))
    tracker.branch_started("cnn")
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    runs = named(client.search_runs([experiment.experiment_id]))
    assert set(runs) == {"pipeline", "cnn", "cnn-trial-1", "cnn-trial-2"}
    trial = runs["cnn-trial-2"]
    assert trial.data.tags["mlflow.parentRunId"] == runs["cnn"].info.run_id
    assert trial.data.params == {"dropout": "0.1"}
    assert trial.data.metrics["best_val_track_accuracy"] == 0.5


def test_a_failed_pipeline_leaves_no_run_that_seems_to_go_on(tmp_path):
    config = PipelineConfig(data=DataConfig("music"), output=str(tmp_path))
    tracker = Tracker(config, data_fingerprint="abc")
    tracker.branch_started("cnn")
    tracker.failed()
    client = mlflow.MlflowClient(tracking_store.tracking_uri(config))
    experiment = client.get_experiment_by_name("gatefold")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FAILED"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_real_server_takes_the_runs(tmp_path):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
            *("--port", str(port), "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"),
            *("--artifacts-destination", str(tmp_path / "artifacts")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                tracking_store.check_reachable(uri)
                break
            except UserError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.5)
        config = PipelineConfig(
            data=DataConfig("music"), output=str(tmp_path / "out"), mlflow_uri=uri
        )
        track_a_branch(config, tmp_path, cached=False)
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name("gatefold")
        names = set(named(client.search_runs([experiment.experiment_id])))
        assert names == {"pipeline", "cnn"}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


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
