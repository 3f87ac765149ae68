"""The gate as a user meets it: refused with exit code 2 and reasons, released, rolled back."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.audio.settings import AudioSettings
from components.common import releases
from components.common.releases import ReleaseStore
from tests.conftest import ROOT, chord
from tests.e2e.conftest import output_of, run
from tests.e2e.test_pipeline import ALWAYS
from tests.permissive_gate import PERMISSIVE
from tests.serving.server_process import ServerProcess

_AUDIO = AudioSettings()
# Weights grow a hundredfold a step, beyond what a float holds, before the first epoch ends.
DIVERGES = [
    *("--epochs", "1", "--set", "training.learning_rate=10", "--set", "training.weight_decay=10"),
    *("--set", "training.batch_size=4", "--set", "training.windows_per_track=30"),
]


def serving(output: Path) -> str:
    return str(output / "serving" / "genre")


def in_production(output: Path) -> tuple[int, str]:
    """The newest version, and the checksum of its model."""
    newest = ReleaseStore(serving(output)).versions()[-1]
    files = ReleaseStore(serving(output)).release(newest).files
    return newest, releases.model_checksum(files)


def judgement(output: Path) -> dict:
    """The newest `report.json` of the gate."""
    reports = (output / "pipeline").glob("*/Gate/judgement/*/report.json")
    return json.loads(max(reports, key=lambda path: int(path.parent.name)).read_text())


def mlflow_runs(output: Path, run_id: str) -> dict:
    client = mlflow.MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = client.get_experiment_by_name("gatefold")
    found = client.search_runs([experiment.experiment_id], f"tags.`gatefold.run_id` = '{run_id}'")
    return {one.info.run_name.split()[0]: one for one in found}


@pytest.mark.slow
def test_a_refused_model_says_why_on_screen_in_the_report_and_in_mlflow(branched_off):
    """A minute's training, judged by the default gate; everything else is in the cache."""
    output = output_of(branched_off)
    before = ReleaseStore(serving(output)).versions()
    judged_by_default = [*branched_off]
    place = judged_by_default.index("--gate")
    del judged_by_default[place : place + 2]
    refused = run(*judged_by_default)
    assert refused.code == 2, refused.screen
    assert ReleaseStore(serving(output)).versions() == before
    executed = {stage for stage, note in refused.stages().items() if note == "executed"}
    assert executed == {"ServingCheck-cnn", *ALWAYS}  # its bounds are the gate's
    report = judgement(output)
    rows = [row for row in report["models"]["cnn"]["gates"] if not row["passed"]]
    assert "accuracy" in {row["gate"] for row in rows}
    assert not report["models"]["cnn"]["blessed"]
    assert "cnn is refused:" in refused.screen and "at least 0.500 is needed" in refused.screen
    assert "Not pushed: no model passed the gate" in refused.screen
    for row in rows:
        assert row["title"] in refused.screen
    runs = mlflow_runs(output, report["run_id"])
    assert runs["cnn"].data.tags["gate"] == "refused"
    for row in rows:
        assert row["title"] in runs["cnn"].data.tags["gate.reasons"]
    assert runs["pipeline"].data.tags["gate.refused"] == "cnn"
    page = (output / "report" / "index.html").read_text()
    for row in rows:
        assert row["title"] in page
    # What the model got wrong can be heard and seen.
    assert "<audio" in page and "Log-mel spectrogram of" in page
    assert "baseline" in refused.screen  # a row of the table like any model
    assert "ARGS=" not in refused.screen  # no command that would lower the bar


@pytest.fixture
def compares(tmp_path) -> str:
    """A gate whose only bar is production."""
    lines = PERMISSIVE.replace("max_accuracy_loss: 1", "max_accuracy_loss: 0.02")
    file = tmp_path / "compares.yaml"
    file.write_text(lines.replace("max_log_loss_increase: 100", "max_log_loss_increase: 0.05"))
    return str(file)


@pytest.mark.slow
def test_a_worse_model_is_refused_a_better_one_released_and_rolled_back(
    branched_off, compares, tmp_path
):
    """In production is a network of one epoch, the music and its features are in the cache."""
    output = output_of(branched_off)
    first, checksum = in_production(output)
    arguments = [*branched_off, "--gate", compares]

    diverged = run(*arguments, "--models", "ann", *DIVERGES)
    assert diverged.code == 2, diverged.screen
    assert "ann is refused:" in diverged.screen and "no numbers for" in diverged.screen
    assert in_production(output) == (first, checksum)
    assert ReleaseStore(serving(output)).versions() == [first]

    better = run(*arguments, "--models", "musicnn")
    assert better.code == 0, better.screen
    second, other = in_production(output)
    assert second > first and other != checksum

    worse = run(*arguments)
    assert worse.code == 2, worse.screen
    assert worse.stages()["Trainer-cnn"] == "cached"
    assert "against production:" in worse.screen
    assert in_production(output) == (second, other)
    against = judgement(output)["models"]["cnn"]["against_production"]
    assert against["tracks"] > 0 and against["only_production"] >= against["only_candidate"]

    server = ServerProcess(
        tmp_path / "server", ["--model-base-path", serving(output), "--poll-seconds", "0.5"]
    )
    try:
        server.wait_ready()
        assert roll_back(server, output) == []
    finally:
        server.stop()
    third, restored = in_production(output)
    assert third > second and restored == checksum


def roll_back(server: ServerProcess, output: Path) -> list[str]:
    """Rolls back while requests are sent; gives the errors of those until the server followed."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_audio"
    request.inputs["audio"].CopyFrom(tf.make_tensor_proto(chord(0, _AUDIO, 4.0)[np.newaxis]))
    errors: list[str] = []
    answered_by: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        # No retry hides a failure.
        with grpc.insecure_channel(server.address, [("grpc.enable_retries", 0)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                try:
                    answered_by.append(stub.Predict(request, timeout=60).model_spec.version.value)
                except Exception as error:  # whatever it is, a caller had no answer
                    errors.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "serving.release", "rollback", "--output", str(output)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        newest = ReleaseStore(serving(output)).versions()[-1]
        while not errors and (not answered_by or answered_by[-1] != newest):
            asking.join(0.2)
            assert asking.is_alive()
    finally:
        stop.set()
        asking.join()
    return errors
