"""The whole pipeline as its users run it: to a pushed model, from the cache, after a kill."""

import collections
import contextlib
import os
import pty
import shutil
import signal
import time

import mlflow
import numpy as np
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.common import releases
from components.common.releases import ReleaseStore
from components.gtzan.genres import GENRES
from tests.conftest import chord
from tests.e2e.conftest import Run, run, start, start_cold

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
    store = ReleaseStore(str(output / "serving" / "genre"))
    files, evidence = releases.checksums(store.folder(version)), store.release(version).evidence
    return {name: files[name] for name in files if name not in evidence}


def versions(output) -> list[int]:
    return ReleaseStore(str(output / "serving" / "genre")).versions()


def executions(output) -> dict[str, collections.Counter]:
    """How many executions of each node ended in each state, from the metadata store."""
    config = metadata.sqlite_metadata_connection_config(str(output / "metadata.db"))
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    with metadata.Metadata(config) as handle:
        for context in handle.store.get_contexts_by_type("node"):
            node = context.name.rpartition(".")[2]
            for execution in handle.store.get_executions_by_context(context.id):
                state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
                counts[node][state] += 1
    return counts


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


def test_a_second_identical_run_takes_every_stage_from_the_cache(first_run: Run, arguments, output):
    before = executions(output)
    (number,) = versions(output)
    again = run(*arguments)
    assert again.code == 0, again.screen
    notes = again.stages()
    for stage in ALWAYS:  # production is asked, not remembered
        assert notes.pop(stage) == "executed"
    assert set(notes.values()) == {"cached"}
    after = executions(output)
    for stage in notes:
        assert after[stage]["COMPLETE"] == before[stage]["COMPLETE"], stage
        assert after[stage]["CACHED"] == before[stage]["CACHED"] + 1, stage
    assert versions(output) == [number]
    assert f"Already in production: version {number}: cnn" in again.screen
    assert "Pushed" not in again.screen


def test_a_deleted_serving_folder_is_pushed_to_again(first_run: Run, arguments, output):
    shutil.rmtree(output / "serving")
    again = run(*arguments)
    assert again.code == 0, again.screen
    (number,) = versions(output)
    assert f"Pushed version {number}: cnn" in again.screen
    assert tf.saved_model.load(str(output / "serving" / "genre" / str(number))).signatures


def test_a_changed_gate_judges_again_and_keeps_production(first_run: Run, arguments, output):
    refused = run(*arguments, "--min-accuracy", "1")
    assert refused.code == 2, refused.screen
    executed = {stage for stage, note in refused.stages().items() if note == "executed"}
    assert executed == set(ALWAYS)
    assert "at least 1.000 is needed" in refused.screen
    assert len(versions(output)) == 1
    assert "ARGS=" not in refused.screen  # no command that would lower the bar


def test_another_model_trains_only_its_own_branch(first_run: Run, arguments, output):
    more = run(*arguments, "--models", "cnn,lstm")
    assert more.code == 0, more.screen
    executed = {stage for stage, note in more.stages().items() if note == "executed"}
    assert executed - {*ALWAYS} == {
        *("Transform-mfcc", "Trainer-lstm", "Evaluator-lstm"),
        *("Predictions-lstm", "ServingCheck-lstm"),
    }


def test_a_search_feeds_its_branch_and_its_trials_are_tracked(first_run: Run, arguments, output):
    searched = run(*arguments, "--tune", "2")
    assert searched.code == 0, searched.screen
    executed = {stage for stage, note in searched.stages().items() if note == "executed"}
    assert executed - {*ALWAYS} == {"Tuner-cnn", *BRANCH_STAGES}
    client = mlflow.MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = client.get_experiment_by_name("gatefold")
    newest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    trials = [run for run in newest if "-trial-" in run.info.run_name]
    (branch,) = {run.data.tags["mlflow.parentRunId"] for run in trials}
    assert [run.info.run_name for run in trials] == ["cnn-trial-2", "cnn-trial-1"]
    scores = {
        run.data.params["learning_rate"]: run.data.metrics["best_val_track_accuracy"]
        for run in trials
    }
    trained_with = client.get_run(branch).data.params["training.learning_rate"]
    assert scores[trained_with] == max(scores.values())


def test_a_run_killed_in_trainer_finishes_without_repeating_what_was_done(
    first_run: Run, arguments, output
):
    # Only training differs: the data and its features are in the cache already.
    changed = [*arguments, "--set", "training.learning_rate=0.0001", "--epochs", "2"]
    before = executions(output)
    killed = start(*changed)
    deadline = time.monotonic() + 300
    while executions(output)["Trainer-cnn"]["RUNNING"] == 0:
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    finished = run(*changed)
    assert finished.code == 0, finished.screen
    stages = finished.stages()
    assert {stage for stage in DATA_STAGES if stages[stage] != "cached"} == set()
    assert stages["Trainer-cnn"] == "executed"
    after = executions(output)
    for stage in DATA_STAGES:
        assert after[stage]["COMPLETE"] == before[stage]["COMPLETE"]


def test_a_second_run_keeps_out_and_a_stopped_one_is_told_of(arguments, tmp_path):
    """SIGTERM, as schedulers send it, ends a run as Ctrl-C does, in the midst of Beam too."""
    elsewhere = [*arguments, "--output", str(tmp_path)]
    going = start(*elsewhere)
    deadline = time.monotonic() + 300
    while not (tmp_path / "mlflow.db").is_file():
        assert time.monotonic() < deadline and going.poll() is None
        time.sleep(1)
    second = run(*elsewhere)
    assert second.code == 1
    assert "--output: another run uses" in second.screen
    while not list((tmp_path / "pipeline").glob("*/Transform-log-mel")):
        assert time.monotonic() < deadline and going.poll() is None
        time.sleep(1)
    time.sleep(5)  # it analyses, whose error would be Beam's
    going.terminate()
    screen, _ = going.communicate(timeout=120)
    assert going.returncode == 130, screen
    assert "Interrupted" in screen


def test_the_model_that_a_run_says_it_pushed_is_the_one_that_is_served(
    first_run: Run, arguments, output
):
    """By now other models were pushed; the first one's stages all come from the cache."""
    other = run(*arguments, "--seed", "1")
    assert other.code == 0, other.screen
    served = model_files(output, versions(output)[-1])
    back = run(*arguments)
    assert back.code == 0, back.screen
    newest = versions(output)[-1]
    assert f"Pushed version {newest}: cnn" in back.screen
    first, *_, newest = (model_files(output, number) for number in versions(output))
    assert newest == first != served


def test_on_a_terminal_frameworks_are_not_heard_either(first_run: Run, arguments):
    """All stages from the cache, on a pseudo-terminal, where progress bars move."""
    leader, follower = pty.openpty()
    process = start_cold(*arguments, screen=follower)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while part := os.read(leader, 65536):
            shown += part
    os.close(leader)
    assert process.wait() == 0
    screen = shown.decode()
    assert "Pusher" in screen and "Traceback" not in screen
    for noise in ("WARNING", "absl", "UserWarning", "deprecated"):
        assert noise not in screen


def test_a_mistake_in_the_data_ends_with_a_sentence_and_without_a_trace(tmp_path):
    music = tmp_path / "music" / "blues"
    music.mkdir(parents=True)
    (music / "blues.00000.wav").write_bytes(b"this is no sound")
    failed = run("--data", str(music.parent), "--output", str(tmp_path / "out"))
    assert failed.code == 1
    assert "Traceback" not in failed.screen
    assert "blues.00000.wav" in failed.screen
