"""The pipeline on four genres of a user's own: released, cached, refused, replaced, rolled back.

One output folder goes through its life: each fixture is a run that follows the one before, and each
test looks at what its run has just left. What a run promises whatever its nodes do is in
tests/pipeline/local/test_runner.py.
"""

import json
import os
import re
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import grpc
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.audio import codec
from components.audio.settings import AudioSettings
from components.common import releases
from components.common.releases import ReleaseStore
from tests.conftest import ROOT, chord
from tests.e2e.conftest import Run, run
from tests.permissive_gate import PERMISSIVE
from tests.serving.server_process import ServerProcess

pytestmark = pytest.mark.slow

AUDIO = AudioSettings()
GENRES = ("Blåsmusik [live]", "Märchen & Lied", "R&B", "新 音")
TRACKS, SECONDS = 10, 4.2
BRANCH = ("Trainer", "Evaluator", "Predictions", "ServingCheck")
# They look at production, or at what looked at it.
ALWAYS = {"Gate", "ModelSelector", "ReleaseReport", "Pusher", "RunRecorder"}
DATA = {
    *("GtzanExampleGen", "SchemaImport", "StatisticsGen", "StrictExampleValidator"),
    *("DeformedExamples", "TrainingCopies"),
    *("Transform-descriptors", "Transform-log-mel", "Baseline"),
}
# Weights grow a hundredfold a step, beyond what a float holds, before the first epoch ends.
DIVERGES = [
    *("--models", "ann", "--epochs", "1", "--set", "training.learning_rate=10"),
    *("--set", "training.weight_decay=10", "--set", "training.batch_size=4"),
    *("--set", "training.windows_per_track=30"),
]
LEARNS = [
    *("--models", "ann", "--tune", "2", "--epochs", "40", "--set", "training.batch_size=4"),
    *("--set", "training.windows_per_track=2"),
]


class World:
    """Music, and an output folder with what runs have left there."""

    def __init__(self, folder: Path) -> None:
        self.music = folder / "Müsik (für alle) [2026]"
        self.output = folder / "Ausgabe (für alle)"
        self.store = ReleaseStore(str(self.output / "serving" / "genre"))
        # A gate that any model passes, and one whose only bar is production.
        self.permissive, self.compares = folder / "permissive.yaml", folder / "compares.yaml"
        self.permissive.write_text(PERMISSIVE)
        bar = PERMISSIVE.replace("max_accuracy_loss: 1", "max_accuracy_loss: 0.02")
        bar = bar.replace("max_log_loss_increase: 100", "max_log_loss_increase: 0.05", 1)
        self.compares.write_text(bar)

    def arguments(self, *more: str) -> list[str]:
        """Those of a quick run."""
        return [
            *("--data", str(self.music), "--genres", "auto", "--output", str(self.output)),
            *("--models", "cnn", "--epochs", "1", "--set", "training.windows_per_track=1"),
            *("--set", "audio.clip_seconds=4", *more),
        ]

    def in_production(self) -> tuple[int, str]:
        """The newest version, and the checksum of its model."""
        newest = self.store.versions()[-1]
        return newest, releases.model_checksum(self.store.release(newest).files)

    def judgement(self) -> dict:
        """The newest `report.json` of the gate."""
        reports = (self.output / "pipeline").glob("*/Gate/judgement/*/report.json")
        return json.loads(max(reports, key=lambda path: int(path.parent.name)).read_text())

    def mlflow_runs(self) -> dict[str, list[mlflow.entities.Run]]:
        """MLflow's runs by the first word of their name, the newest first."""
        client = mlflow.MlflowClient(f"sqlite:///{self.output}/mlflow.db")
        experiment = client.get_experiment_by_name("gatefold")
        found: dict[str, list[mlflow.entities.Run]] = {}
        for each in client.search_runs([experiment.experiment_id]):
            found.setdefault(each.info.run_name.split()[0], []).append(each)
        return found


def write_track(path: Path, pitch: float, seed: int) -> None:
    """A chord of its own over a drone that gives its genre away."""
    samples = chord(seed, AUDIO, SECONDS)
    drone = np.sin(2 * np.pi * pitch * np.arange(len(samples)) / AUDIO.sample_rate_hz)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode_wav(0.5 * samples + 0.3 * drone, AUDIO.sample_rate_hz))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    world = World(tmp_path_factory.mktemp("e2e"))
    for index, genre in enumerate(GENRES):
        # As macOS writes names; half of the tracks lie in an album.
        name = unicodedata.normalize("NFD", genre)
        for number in range(TRACKS):
            album = "Ein Album" if number % 2 else ""
            path = world.music / name / album / f"Stück {number}.wav"
            write_track(path, 200.0 * 2**index, 100 * index + number)
    (world.music / "R&B" / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"no music")
    return world


@pytest.fixture(scope="module")
def first(world) -> Run:
    return run(*world.arguments("--gate", str(world.permissive)))


@pytest.fixture(scope="module")
def version(first, world) -> Path:
    """The first version's folder."""
    assert first.code == 0, first.screen
    return Path(world.store.folder(min(world.store.versions())))


@pytest.fixture(scope="module")
def refused(version, world) -> Run:
    """A minute's training, judged by the default gate but for a bar that no luck reaches."""
    return run(*world.arguments("--min-accuracy", "0.99"))


@pytest.fixture(scope="module")
def diverged(refused, world) -> Run:
    return run(*world.arguments("--gate", str(world.compares), *DIVERGES))


@pytest.fixture(scope="module")
def better(diverged, world) -> Run:
    return run(*world.arguments("--gate", str(world.compares), *LEARNS))


@pytest.fixture(scope="module")
def worse(better, world) -> Run:
    """The first model, compared with what is in production now."""
    assert better.code == 0, better.screen
    return run(*world.arguments("--gate", str(world.compares)))


def test_a_first_run_ends_in_a_pushed_model(first, world, version):
    # Two at a time: in an order of their own.
    assert first.executed() == {*DATA, *(f"{stage}-cnn" for stage in BRANCH), *ALWAYS}
    assert f"Pushed version {version.name}: cnn" in first.screen
    for wanted in ("accuracy", "macro-F1", "validation", "baseline", "tracks to train on"):
        assert wanted in first.screen
    for noise in ("WARNING", "tensorflow", "Traceback", "absl"):
        assert noise not in first.screen.replace("starting TensorFlow", "")


def test_the_reference_names_every_file_of_a_run_and_of_a_release(world, version):
    page = (ROOT / "docs" / "reference" / "files.md").read_text()
    of_run, of_release = (
        set(re.findall(r"^\| `(.+?)`", part, re.MULTILINE)) for part in page.split("## A release")
    )
    made = {file.name for file in world.output.iterdir() if not file.name.startswith(".")}
    assert made == of_run - {"ingest.html", "remote", "results.csv"}  # of other runs
    files = [str(file.relative_to(version)) for file in version.rglob("*") if file.is_file()]
    assert [file for file in files if not file.startswith(tuple(of_release))] == []
    assert [name for name in of_release if not any(file.startswith(name) for file in files)] == []


def test_the_release_knows_the_four_names_and_classifies_a_track(version, world):
    assert tuple((version / "assets" / "genres.txt").read_text().splitlines()) == GENRES
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    track = next((world.music / unicodedata.normalize("NFD", GENRES[0])).glob("*.wav"))
    classify = tf.saved_model.load(str(version)).signatures["classify_wav"]
    answer = classify(wav=tf.constant([track.read_bytes()]))
    assert float(tf.reduce_sum(answer["probabilities"])) == pytest.approx(1, abs=1e-4)
    assert tuple(name.decode() for name in answer["genres"].numpy()[0]) == GENRES


def test_the_ingest_report_has_the_four_genres_and_the_file_that_was_left_out(version, world):
    (report,) = (world.output / "pipeline").glob("**/ingest_report/*/report.json")
    summary = json.loads(report.read_text())
    assert tuple(summary["tracks"]) == GENRES
    assert summary["accepted"] == len(GENRES) * TRACKS
    assert [rejected["path"] for rejected in summary["rejected"]] == [r"R&B/caf\xe9.wav"]


def test_a_refused_model_says_why_on_screen_in_the_report_and_in_mlflow(refused, world):
    assert refused.code == 2, refused.screen
    assert refused.executed() == {"ServingCheck-cnn", *ALWAYS}  # its bounds are the gate's
    report = world.judgement()
    rows = [row for row in report["models"]["cnn"]["gates"] if not row["passed"]]
    assert "accuracy" in {row["gate"] for row in rows}
    assert "cnn is refused:" in refused.screen and "at least 0.990 is needed" in refused.screen
    assert "Not pushed: no model passed the gate" in refused.screen
    runs = {name: newest[0] for name, newest in world.mlflow_runs().items()}
    assert runs["pipeline"].data.tags["gatefold.run_id"] == report["run_id"]
    assert runs["cnn"].data.tags["gate"] == "refused"
    assert runs["pipeline"].data.tags["gate.refused"] == "cnn"
    page = (world.output / "report" / "index.html").read_text()
    for row in rows:
        assert row["title"] in refused.screen and row["title"] in page
        assert row["title"] in runs["cnn"].data.tags["gate.reasons"]


def test_a_model_whose_training_diverged_is_refused(diverged):
    assert diverged.code == 2, diverged.screen
    assert "ann is refused:" in diverged.screen and "no numbers for" in diverged.screen


def test_another_model_trains_only_its_own_branch_and_a_better_one_is_released(better, world):
    first, second = world.store.versions()[:2]  # nothing that was refused is among them
    assert f"Pushed version {second}: ann" in better.screen
    assert better.executed() == {*ALWAYS, *(f"{stage}-ann" for stage in ("Tuner", *BRANCH))}
    assert second > first
    # The settings of the search's best trial were used, and the search is in MLflow.
    runs = world.mlflow_runs()
    trials = [each for name in runs if name.startswith("ann-trial-") for each in runs[name]]
    scores = {
        trial.data.params["learning_rate"]: trial.data.metrics["best_val_track_accuracy"]
        for trial in trials
    }
    trained_with = runs["ann"][0].data.params["training.learning_rate"]
    assert len(trials) == 2 and scores[trained_with] == max(scores.values())


def test_a_worse_model_is_refused_with_its_figures_against_production(worse, world):
    assert worse.code == 2, worse.screen
    assert worse.stages()["Trainer-cnn"] == "cached"
    assert "against production:" in worse.screen
    against = world.judgement()["models"]["cnn"]["against_production"]
    assert against["tracks"] > 0 and against["only_production"] >= against["only_candidate"]
    page = (world.output / "report" / "index.html").read_text()
    # What the model got wrong can be heard and seen.
    assert "<audio" in page and "Log-mel spectrogram of" in page
    assert "against production" in page
    assert len(world.store.versions()) == 2


def test_production_is_rolled_back_and_the_same_run_again_finds_it_there(worse, world, tmp_path):
    first, second = world.store.versions()
    models = str(world.output / "serving" / "genre")
    server = ServerProcess(
        tmp_path / "server", ["--model-base-path", models, "--poll-seconds", "0.5"]
    )
    try:
        server.wait_ready()
        assert roll_back(server, world) == []
    finally:
        server.stop()
    third, checksum = world.in_production()
    assert third > second
    assert checksum == releases.model_checksum(world.store.release(first).files)

    again = run(*world.arguments("--gate", str(world.permissive)))
    assert again.code == 0, again.screen
    assert again.executed() == ALWAYS  # production is asked, not remembered
    assert f"Already in production: version {third}: cnn" in again.screen
    assert "Pushed" not in again.screen
    assert world.store.versions() == [first, second, third]


def roll_back(server: ServerProcess, world: World) -> list[str]:
    """Rolls back while requests are sent; gives the errors of those until the server followed."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_audio"
    request.inputs["audio"].CopyFrom(tf.make_tensor_proto(chord(0, AUDIO, 4.0)[np.newaxis]))
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
            [sys.executable, "-m", "serving.release", "rollback", "--output", str(world.output)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        newest = world.store.versions()[-1]
        while not errors and (not answered_by or answered_by[-1] != newest):
            asking.join(0.2)
            assert asking.is_alive()
    finally:
        stop.set()
        asking.join()
    return errors


def test_a_mistake_in_the_data_ends_with_a_sentence_and_without_a_trace(tmp_path):
    music = tmp_path / "music"
    for genre in ("blues", "rock"):
        (music / genre).mkdir(parents=True)
        for number in range(3):
            (music / genre / f"{genre}.0000{number}.wav").write_bytes(b"this is no sound")
    arguments = ("--data", str(music), "--output", str(tmp_path / "out"))
    failed = run(*arguments)
    assert failed.code == 1 and "--genres auto" in failed.screen
    failed = run(*arguments, "--genres", "blues,rock")
    assert failed.code == 1
    assert "Traceback" not in failed.screen
    assert "blues.00000.wav" in failed.screen
