"""The whole pipeline as its users run it: to a pushed model, from the cache, with a changed model.

What a run promises whatever its nodes do is in tests/pipeline/local/test_runner.py.
"""

import mlflow
import numpy as np
import tensorflow as tf

from components.common import releases
from components.gtzan.genres import GENRES
from tests.conftest import chord
from tests.e2e.conftest import Run, output_of, run

DATA_STAGES = [
    "GtzanExampleGen",
    "SchemaImport",
    "StatisticsGen",
    "StrictExampleValidator",
    "DeformedExamples",
    "Transform-descriptors",
    "Transform-log-mel",
    "Baseline",
]
BRANCH_STAGES = ["Trainer-cnn", "Evaluator-cnn", "Predictions-cnn", "ServingCheck-cnn"]
# They look at production, or at what looked at it.
ALWAYS = ["Gate", "ModelSelector", "ReleaseReport", "Pusher", "RunRecorder"]
STAGES = DATA_STAGES + BRANCH_STAGES + ALWAYS


def model_files(output, version: int) -> dict[str, str]:
    """Checksums of a version's own files, without its evidence, which differs in every run."""
    folder = str(output / "serving" / "genre" / str(version))
    evidence = releases.read_release(folder)["evidence"]
    files = releases.checksums(folder)
    return {name: files[name] for name in files if name not in evidence}


def versions(output) -> list[int]:
    return releases.versions(str(output / "serving" / "genre"))


def test_a_run_ends_in_a_pushed_model_that_classifies(first_run: Run, output, settings):
    assert first_run.code == 0, first_run.screen
    assert sorted(first_run.stages()) == sorted(STAGES)  # two at a time: in an order of their own
    (number,) = versions(output)
    version = output / "serving" / "genre" / str(number)
    assert f"Pushed version {number}: cnn" in first_run.screen
    signatures = tf.saved_model.load(str(version)).signatures
    answer = signatures["classify_audio"](audio=tf.constant(chord(0, settings)[np.newaxis]))
    assert answer["probabilities"].shape == (1, len(GENRES))
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_the_screen_shows_the_table_and_no_framework_noise(first_run: Run):
    for wanted in ("accuracy", "macro-F1", "validation", "make serve", "tracks to train on"):
        assert wanted in first_run.screen
    for noise in ("WARNING", "tensorflow", "Traceback", "absl"):
        assert noise not in first_run.screen.replace("starting TensorFlow", "")


def test_the_same_again_is_cached_and_a_changed_model_trains_only_its_own_branch(branched_off):
    output = output_of(branched_off)
    (number,) = versions(output)
    again = run(*branched_off)
    assert again.code == 0, again.screen
    notes = again.stages()
    for stage in ALWAYS:  # production is asked, not remembered
        assert notes.pop(stage) == "executed"
    assert set(notes.values()) == {"cached"}
    assert versions(output) == [number]
    assert f"Already in production: version {number}: cnn" in again.screen
    assert "Pushed" not in again.screen

    searched = run(*branched_off, "--models", "ann", "--tune", "2")
    assert searched.code == 0, searched.screen
    executed = {stage for stage, note in searched.stages().items() if note == "executed"}
    branch = ("Tuner", "Trainer", "Evaluator", "Predictions", "ServingCheck")
    assert executed - {*ALWAYS} == {f"{stage}-ann" for stage in branch}
    assert_best_trial_trained(output, "ann")
    assert f"Pushed version {versions(output)[-1]}: ann" in searched.screen

    # All of its stages come from the cache, and it is what is served again.
    back = run(*branched_off)
    assert back.code == 0, back.screen
    assert f"Pushed version {versions(output)[-1]}: cnn" in back.screen
    first, other, newest = (model_files(output, version) for version in versions(output))
    assert newest == first != other


def assert_best_trial_trained(output, model: str) -> None:
    """Checks that a search is in MLflow, and that the settings of its best trial were used."""
    client = mlflow.MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = client.get_experiment_by_name("gatefold")
    trials = [
        trial
        for trial in client.search_runs([experiment.experiment_id])
        if trial.info.run_name.startswith(f"{model}-trial-")
    ]
    (branch,) = {trial.data.tags["mlflow.parentRunId"] for trial in trials}
    scores = {
        trial.data.params["learning_rate"]: trial.data.metrics["best_val_track_accuracy"]
        for trial in trials
    }
    trained_with = client.get_run(branch).data.params["training.learning_rate"]
    assert len(trials) == 2 and scores[trained_with] == max(scores.values())


def test_a_mistake_in_the_data_ends_with_a_sentence_and_without_a_trace(tmp_path):
    music = tmp_path / "music" / "blues"
    music.mkdir(parents=True)
    (music / "blues.00000.wav").write_bytes(b"this is no sound")
    failed = run("--data", str(music.parent), "--output", str(tmp_path / "out"))
    assert failed.code == 1
    assert "Traceback" not in failed.screen
    assert "blues.00000.wav" in failed.screen
