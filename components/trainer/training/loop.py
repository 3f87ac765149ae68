"""Trains a model on two splits of tracks and keeps the best weights by track accuracy.

A model that starts from weights is trained in two phases. First a new head is trained on the
outputs of the frozen body, which are computed once. Then, if it is fine-tuned, the top of the body
is trained as well, at a lower rate and with fixed normalisation statistics. All other models are
trained in one phase.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.common.answers import TrackAnswers
from components.trainer.data import windows
from components.trainer.data.tracks import Tracks
from components.trainer.models import build, entry
from components.trainer.parts import heads
from components.trainer.settings import NO_WEIGHTS, TrainingSettings
from components.trainer.training import chance, devices
from components.trainer.training.body_outputs import (
    batches_in_order,
    body_output_means,
    body_outputs,
    moments,
    shuffled_batches,
    window_outputs,
)
from components.trainer.training.fitting import Phase, fit
from components.trainer.training.track_accuracy import TrackAccuracy

HEAD_BATCH_SIZE = 256  # tracks
_HEAD_STEPS = 25  # in an epoch
_HEAD_WINDOWS = 1024  # validated in a step


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
      model: The model with its best weights, float32 throughout.
      history: Metrics by epoch, including `val_track_accuracy`, `val_track_loss` and
        `val_window_accuracy` if there is a validation split.
      best_epoch: Zero-based epoch of the model's weights.
      seconds: Wall-clock time, including building the model.
      answers: The model's own answers for the validation split; None without one.
      remarks: What the user should know of this training, a sentence each.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float
    answers: TrackAnswers | None = None
    remarks: tuple[str, ...] = ()


def train(
    model_name: str,
    training: Tracks,
    validation: Tracks | None,
    *,
    settings: TrainingSettings,
    genres: Sequence[str],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
) -> TrainingResult:
    """Trains a model of the catalog.

    Args:
      model_name: Its name.
      training: The training split.
      validation: The validation split, by which the best epoch is chosen. With None, all epochs
        are trained and the last weights kept.
      settings: The training settings.
      genres: Names in label order.
      callbacks: Keras callbacks, with track-level validation figures in their logs. With two
        phases, `on_train_begin` and `on_train_end` are called once for each, and epochs count on.
      strategy: Where to run; chosen by `settings.distribution` by default. For several processes
        it has to be made before anything else of TensorFlow, and each of them calls this function
        with the same arguments.

    Raises:
      ValueError: A split is empty, or a track is shorter than a window.
    """
    started = time.monotonic()
    keras.utils.set_random_seed(settings.seed)
    training = training.cached(settings.cache_megabytes)
    genre_weights = np.ones(len(genres), np.float32)
    if settings.class_weights:
        genre_weights = training.genre_weights(len(genres))
    if validation is not None:
        validation = validation.cached(settings.cache_megabytes)
    policy = devices.precision_policy(settings)
    strategy = strategy or devices.strategy(settings.distribution)
    task = _Task(training, validation, genre_weights, settings)
    shape: Any = {"feature": training.feature, "genre_count": len(genres)}
    history: dict[str, list[float]] = {}
    epochs, watch = 0, None
    with (
        devices.precision(policy),
        strategy.scope(),
        tempfile.TemporaryDirectory(prefix="gatefold-outputs-") as scratch,
    ):
        model = build(model_name, settings=settings.model, **shape)
        if validation is not None:
            watch = TrackAccuracy(validation, patience=settings.patience, whole_model=model)
            callbacks = [watch, *callbacks]
        for phase in task.phases(model, Path(scratch)):
            if watch is not None and phase.validation is not None:
                watch.start_phase(phase.validation)
            fitted = fit(phase, first_epoch=epochs, callbacks=callbacks)
            epochs += len(fitted.epoch)
            for name, values in fitted.history.items():
                history.setdefault(name, []).extend(float(value) for value in values)
        best_epoch = watch.restore() if watch else epochs - 1
    if policy != "float32" or devices.several_processes(strategy):
        trained = model.get_weights()
        network = entry(model_name).rebuilt(settings.model, settings.model.weights)
        model = build(model_name, settings=network, **shape)
        model.set_weights(trained)
        if watch and policy != "float32" and validation is not None:
            watch.best_outputs = window_outputs(model, validation)
    seconds = time.monotonic() - started
    remarks = chance.remarks(model_name, history["accuracy"], training.labels, genre_weights)
    answers = watch.answers if watch else None
    return TrainingResult(model, history, best_epoch, seconds, answers, remarks)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a model is trained on, and how."""

    training: Tracks
    validation: Tracks | None
    genre_weights: np.ndarray
    settings: TrainingSettings

    def phases(self, model: keras.Model, scratch: Path) -> Iterator[Phase]:
        """Prepares each phase when the one before it has been fitted."""
        if heads.body_of(model) is None or self.settings.model.weights == NO_WEIGHTS:
            heads.start_from_scratch(model)
            yield self._whole(model, peak=self.settings.learning_rate)
            return
        yield self._head(model, scratch)
        heads.penalise(model, 0.0)
        if self.settings.model.fine_tune:
            heads.unfreeze(model, self.settings.model.fine_tune_share)
            yield self._whole(model, peak=self.settings.fine_tune_learning_rate)

    def _whole(self, model: keras.Model, *, peak: float) -> Phase:
        """All trainable layers, on augmented windows."""
        settings = self.settings
        return Phase(
            model,
            windows.training_windows(
                self.training, genre_weights=self.genre_weights, settings=settings
            ),
            self.validation and windows.evaluation_windows(self.validation),
            settings,
            peak_rate=peak,
            steps=windows.steps_per_epoch(self.training.originals, settings),
            epochs=settings.epochs,
        )

    def _head(self, model: keras.Model, scratch: Path) -> Phase:
        """The head, on the frozen body's outputs, which are computed once.

        It is trained on the mean over each track's windows, with a penalty on its weights: trained
        on the ten windows of each track, it would mostly learn to recognise the track.
        """
        settings, megabytes = self.settings, self.settings.cache_megabytes
        body = model.get_layer(heads.BODY)
        body.trainable = False
        outputs = body_outputs(body, self.training, megabytes, scratch / "training.npy")
        means = body_output_means(outputs, self.training, megabytes, scratch / "means.npy")
        validation = self.validation and batches_in_order(
            body_outputs(body, self.validation, megabytes, scratch / "validation.npy"),
            _HEAD_WINDOWS,
        )
        batches = shuffled_batches(
            means,
            self.training.labels,
            genre_weights=self.genre_weights,
            batch_size=min(len(means), HEAD_BATCH_SIZE),
            seed=settings.seed,
        )
        head = heads.head_of(model)
        heads.fit_scale(head, *moments(means))
        heads.penalise(head, settings.model.head_l2 * 100.0 / len(means))
        return Phase(
            head,
            batches,
            validation,
            # The penalty replaces weight decay, and label smoothing would be a second penalty.
            dataclasses.replace(settings, weight_decay=0.0, label_smoothing=0.0),
            peak_rate=settings.head_learning_rate,
            steps=_HEAD_STEPS,
            epochs=settings.head_epochs,
        )
