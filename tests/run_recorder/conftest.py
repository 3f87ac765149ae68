"""Artifacts of a branch as its nodes write them, and a real MLflow server."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma

from components.common.errors import UserError
from components.evaluator.judgement import eval_config
from components.gtzan.genres import GENRES
from components.run_recorder.record import Branch
from components.trainer import validation
from pipeline.local import mlflow_store

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
# The part of the gate's report that is recorded.
JUDGEMENT = {
    "models": {
        name: {
            "blessed": False,
            "checksum": "0f" * 32,
            "validation": {"accuracy": 0.5, "loss": None},
            "figures": {"ece": {"value": 0.125}, "brier": {"value": None}},
            "gates": [
                {
                    "gate": "accuracy",
                    "title": "Accuracy",
                    "figure": 0.25,
                    "threshold": 0.5,
                    "direction": "at least",
                    "passed": False,
                    "detail": "",
                },
                {
                    "gate": "baseline",
                    "title": "Accuracy above the baseline",
                    "figure": None,
                    "threshold": None,
                    "direction": "at least",
                    "passed": False,
                    "detail": "not computed: the baseline answered other tracks",
                },
            ],
        }
        for name in ("cnn",)
    },
    "production": {"note": "nothing is in production yet"},
    "waivers": [{"gate": "max_ece", "reason": "switched off in the gate's settings"}],
}
NETWORK = {"training": {"learning_rate": 0.5, "augmentation": {"mixup": 0.2}}}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="package")
def evaluation(tmp_path_factory) -> str:
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
    config = eval_config()
    # Their answers are given, so that no model is asked.
    del config.model_specs[0].preprocessing_function_names[:]
    config.model_specs[0].ClearField("signature_name")
    folder = str(tmp_path_factory.mktemp("evaluation"))
    tfma.analyze_raw_data(examples, config, output_path=folder)
    return folder


@pytest.fixture
def branch(tmp_path, evaluation) -> Branch:
    """A branch `cnn` that an earlier run trained."""
    folder = tmp_path / "model_run"
    folder.mkdir()
    (folder / "history.json").write_text(json.dumps(HISTORY))
    (folder / "network.json").write_text(json.dumps(NETWORK))
    labels = np.arange(12) % len(GENRES)
    own = np.where(np.eye(len(GENRES), dtype=bool)[labels], 0.5, 0.5 / (len(GENRES) - 1))
    answers = validation.in_order(
        [f"{number:02d}" for number in range(12)],
        labels,
        own[:, np.newaxis],
        np.ones((12, 1), bool),
        clips=1,
    )
    answers, fitted = validation.calibrated(answers)
    validation.write(str(folder), answers, fitted)
    return Branch(
        model="cnn",
        cached=True,
        model_uri="/somewhere",
        model_run_uri=str(folder),
        evaluation_uri=evaluation,
    )


@pytest.fixture(scope="package")
def empty_store(tmp_path_factory) -> Path:
    """MLflow's database, which takes seconds to make."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def store(empty_store, tmp_path) -> str:
    shutil.copy(empty_store, tmp_path)
    return f"sqlite:///{tmp_path}/mlflow.db"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def mlflow_server(folder, port: int) -> Iterator[str]:
    """A server of MLflow's that keeps its runs in `folder`; yields its URI."""
    uri = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
            *("--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                mlflow_store.check_reachable(uri)
                break
            except UserError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.5)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
