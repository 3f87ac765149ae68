"""How training runs: best epoch by whole tracks, the same twice, on several devices."""

import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.data.windows import Tracks
from components.trainer.settings import AugmentationSettings
from components.trainer.training.body_outputs import window_outputs
from components.trainer.training.loop import train
from components.trainer.training.track_accuracy import TrackAccuracy
from tests.trainer.conftest import GENRE_NAMES, coloured, described, tiny

ROOT = Path(__file__).resolve().parents[3]
MFCC = described("lstm")


def run(name="ann", **changes):
    reads = described(name)
    callbacks = changes.pop("callbacks", ())
    return train(
        name,
        coloured(reads, 8),
        coloured(reads, 4, seed=1),
        settings=tiny(name, **changes),
        feature=reads,
        genres=GENRE_NAMES,
        callbacks=callbacks,
    )


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_the_same_seed_gives_the_same_figures(name):
    once, again = run(name, epochs=2), run(name, epochs=2)
    assert once.history == again.history
    assert once.best_epoch == again.best_epoch
    assert run(name, epochs=2, seed=1).history != once.history


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
    reads = dataclasses.replace(MFCC, frames_per_clip=2 * MFCC.window_frames)
    model = Scripted([np.array(answer, np.float64).reshape(4, 2) for answer in answers])
    watch = TrackAccuracy(
        tf.data.Dataset.range(1),
        np.array([0, 1]),
        counts=np.ones((2, 2), bool),
        feature=reads,
        patience=patience,
        whole_model=model,
    )
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


def test_callbacks_are_told_of_tracks():
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_track_accuracy"]))
    )
    result = run("ann", epochs=3, callbacks=[note])
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert [value for _, value in seen] == result.history["val_track_accuracy"]


def test_the_best_epochs_weights_are_the_models():
    result = run("ann", epochs=4)
    reads = described("ann")
    validation = coloured(reads, 4, seed=1)
    found = window_outputs(result.model, validation, feature=reads).mean(axis=1)
    accuracy = np.mean(found.argmax(axis=1) == validation.labels)
    assert accuracy == max(result.history["val_track_accuracy"])


def test_without_validation_the_last_weights_count():
    reads = described("ann")
    result = train(
        "ann",
        coloured(reads, 8),
        None,
        settings=tiny("ann", epochs=3),
        feature=reads,
        genres=GENRE_NAMES,
    )
    assert result.best_epoch == 2
    assert set(result.history) == {"loss", "accuracy"}


def test_an_empty_split_is_refused():
    empty = Tracks(coloured(MFCC, 4).dataset.take(0), np.zeros(0), np.zeros((0, 1)))
    with pytest.raises(ValueError, match="Received: 0 and 4"):
        train(
            "lstm",
            empty,
            coloured(MFCC, 4),
            settings=tiny("lstm"),
            feature=MFCC,
            genres=GENRE_NAMES,
        )


def test_mixed_precision_trains_and_hands_back_single_precision():
    result = run("ann", mixed_precision="on", augmentation=AugmentationSettings())
    assert {variable.dtype for variable in result.model.trainable_variables} == {"float32"}
    assert all(layer.compute_dtype == "float32" for layer in result.model.layers)
    assert keras.config.dtype_policy().name == "float32"


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
        from components.trainer.training.loop import train
        from tests.trainer.conftest import GENRE_NAMES, coloured, described, tiny
        assert devices.strategy("mirrored").num_replicas_in_sync == 2
        reads = described("ann")
        result = train(
            "ann",
            coloured(reads, 8),
            coloured(reads, 4, seed=1),
            settings=tiny(
                "ann",
                distribution="mirrored",
                augmentation=AugmentationSettings(),
                epochs=30,
                windows_per_track=4,
            ),
            feature=reads,
            genres=GENRE_NAMES,
        )
        print("accuracy", max(result.history["val_track_accuracy"]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "accuracy 1.0"
