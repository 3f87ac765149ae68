"""How training runs: best epoch by whole tracks, the same twice, on several devices."""

import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.audio.features import Feature
from components.common.errors import UserError
from components.trainer.data.tracks import Tracks
from components.trainer.settings import AugmentationSettings
from components.trainer.training.body_outputs import window_outputs
from components.trainer.training.track_accuracy import TrackAccuracy
from tests.trainer.conftest import coloured, described, trained

ROOT = Path(__file__).resolve().parents[3]
TWO_WINDOWS = Feature("mfcc", 256, 20, 43.0, 128, standardised=True, clips_per_track=1)


def run(name="ann", **changes):
    reads = described(name)
    return trained(name, coloured(reads, 8), coloured(reads, 4, seed=1), **changes)


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_the_same_seed_gives_the_same_figures(name):
    first, second = run(name, epochs=2), run(name, epochs=2)
    assert first.history == second.history
    assert first.best_epoch == second.best_epoch
    assert run(name, epochs=2, seed=1).history != first.history


class Scripted(keras.Model):
    """Answers with given window probabilities, one set an epoch."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers
        self.epoch = 0
        self.mark = self.add_weight(shape=(), initializer="zeros", trainable=False, name="mark")

    def predict(self, inputs, verbose=0):
        self.mark.assign(self.epoch)
        self.epoch += 1
        return self.answers[self.epoch - 1]


def watched(answers, *, patience=0):
    """Lets a `TrackAccuracy` see scripted answers for two tracks of genres 0 and 1."""
    model = Scripted([np.array(answer, np.float64).reshape(4, 2) for answer in answers])
    tracks = Tracks.from_arrays(TWO_WINDOWS, np.zeros((2, *TWO_WINDOWS.track_shape)), np.arange(2))
    watch = TrackAccuracy(tracks, patience=patience, whole_model=model)
    watch.start_phase(tf.data.Dataset.range(1))
    watch.set_model(model)
    model.stop_training = False
    seen = []
    for epoch in range(len(answers)):
        logs = {}
        watch.on_epoch_end(epoch, logs)
        seen.append(logs)
        if model.stop_training:
            break
    return watch, model, seen


RIGHT, SURER = [[0.6, 0.4]] * 2 + [[0.4, 0.6]] * 2, [[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 2
WRONG = [[0.4, 0.6]] * 2 + [[0.4, 0.6]] * 2
BY_TRACK = [[0.95, 0.05], [0.4, 0.6], [0.1, 0.9], [0.4, 0.6]]  # one window wrong, no track wrong


def test_whole_tracks_decide_and_the_best_weights_come_back():
    watch, model, seen = watched([WRONG, BY_TRACK, WRONG])
    assert [logs["val_track_accuracy"] for logs in seen] == [0.5, 1.0, 0.5]
    assert seen[1]["val_window_accuracy"] == 0.75
    assert watch.restore() == 1
    assert float(model.mark) == 1.0


def test_of_equal_epochs_the_surer_one_is_kept():
    assert watched([RIGHT, SURER, RIGHT])[0].restore() == 1


def test_training_stops_when_whole_tracks_get_no_better():
    assert len(watched([RIGHT, WRONG, WRONG, SURER], patience=2)[2]) == 3
    assert len(watched([RIGHT, WRONG, WRONG, SURER])[2]) == 4


def test_callbacks_are_told_of_tracks_and_the_best_epochs_weights_are_the_models():
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_track_accuracy"]))
    )
    result = run("ann", epochs=4, callbacks=[note])
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert [value for _, value in seen] == result.history["val_track_accuracy"]
    reads = described("ann")
    validation = coloured(reads, 4, seed=1)
    outputs = window_outputs(result.model, validation).mean(axis=1)
    accuracy = np.mean(outputs.argmax(axis=1) == validation.labels)
    assert accuracy == max(result.history["val_track_accuracy"])
    assert np.mean(result.answers.predictions == validation.labels) == accuracy


def test_without_validation_the_last_weights_count():
    reads = described("ann")
    result = trained("ann", coloured(reads, 8), epochs=3)
    assert result.best_epoch == 2
    assert set(result.history) == {"loss", "accuracy"}


def test_a_split_without_tracks_or_a_track_without_a_window_is_refused():
    reads = described("lstm")
    tracks = coloured(reads, 4)
    short = dataclasses.replace(tracks, frames=np.full((4, 1), reads.window_frames - 1))
    empty = Tracks(tracks.dataset.take(0), np.zeros(0), np.zeros((0, 1)), (), reads)
    for wrong, reason in ((short, "shorter than one window of mfcc"), (empty, "Received: 0")):
        for splits in ((wrong, tracks), (tracks, wrong)):
            with pytest.raises(ValueError, match=reason):
                trained("lstm", *splits)


def test_mixed_precision_trains_and_hands_back_single_precision():
    result = run("ann", mixed_precision="on", augmentation=AugmentationSettings())
    assert {variable.dtype for variable in result.model.trainable_variables} == {"float32"}
    assert all(layer.compute_dtype == "float32" for layer in result.model.layers)
    assert keras.config.dtype_policy().name == "float32"


def test_several_processes_for_one_model_are_refused(monkeypatch):
    cluster = {"worker": ["one:1", "two:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(UserError, match="TF_CONFIG"):
        run("ann")
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["one:1"]}, "task": task}))
    assert len(run("ann").history["loss"]) == 1


def test_two_devices_share_a_batch():
    """MirroredStrategy over two logical CPUs, which must be made before TensorFlow starts."""
    script = textwrap.dedent(
        """
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        from components.trainer.training import devices
        from components.trainer.settings import AugmentationSettings
        from tests.trainer.conftest import coloured, described, trained
        assert devices.strategy("mirrored").num_replicas_in_sync == 2
        reads = described("ann")
        changes = {"distribution": "mirrored", "epochs": 30, "windows_per_track": 4}
        splits = coloured(reads, 8), coloured(reads, 4, seed=1)
        result = trained("ann", *splits, **changes, augmentation=AugmentationSettings())
        print("accuracy", max(result.history["val_track_accuracy"]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "accuracy 1.0"
