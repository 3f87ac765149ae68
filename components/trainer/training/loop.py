"""Trains a model on two splits of tracks and keeps the best weights by track accuracy.

A model that starts from weights is trained in two phases. First a new head is trained on the
outputs of the frozen body, which are computed once. Then, if it is fine-tuned, the top of the body
is trained as well, at a lower rate and with fixed normalisation statistics. All other models are
trained in one phase.
"""

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from components.common.answers import TrackAnswers
from components.trainer.data.tracks import Tracks
from components.trainer.models import build, entry
from components.trainer.settings import TrainingSettings
from components.trainer.training import chance, devices
from components.trainer.training.body_outputs import window_outputs
from components.trainer.training.phases import Task
from components.trainer.training.track_accuracy import TrackAccuracy


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

    Raises:
      ValueError: A split is empty, or a track is shorter than a window.
    """
    started = time.monotonic()
    keras.utils.set_random_seed(settings.seed)
    training = training.cached(settings.cache_megabytes)
    validation = validation and validation.cached(settings.cache_megabytes)
    genre_weights = np.ones(len(genres), np.float32)
    if settings.class_weights:
        genre_weights = training.genre_weights(len(genres))
    policy = devices.precision_policy(settings)
    history: dict[str, list[float]] = {}
    epochs, watch = 0, None
    with (
        devices.precision(policy),
        devices.strategy(settings.distribution).scope(),
        tempfile.TemporaryDirectory(prefix="gatefold-outputs-") as folder,
    ):
        model = build(
            model_name,
            feature=training.feature,
            genre_count=len(genres),
            settings=settings.model,
        )
        if validation is not None:
            watch = TrackAccuracy(validation, patience=settings.patience, whole_model=model)
            callbacks = [watch, *callbacks]
        task = Task(training, validation, genre_weights, settings)
        for phase in task.phases(model, Path(folder)):
            if watch is not None and phase.validation is not None:
                watch.start_phase(phase.validation)
            fitted = phase.fit(first_epoch=epochs, callbacks=callbacks)
            epochs += len(fitted.epoch)
            for name, values in fitted.history.items():
                history.setdefault(name, []).extend(float(value) for value in values)
        best_epoch = watch.restore() if watch else epochs - 1
    if policy != "float32":
        trained_weights = model.get_weights()
        model = build(
            model_name,
            feature=training.feature,
            genre_count=len(genres),
            settings=entry(model_name).rebuilt(settings.model, settings.model.weights),
        )
        model.set_weights(trained_weights)
        if watch and validation is not None:
            watch.best_outputs = window_outputs(model, validation)
    return TrainingResult(
        model,
        history,
        best_epoch,
        seconds=time.monotonic() - started,
        answers=watch.answers if watch else None,
        remarks=chance.remarks(model_name, history["accuracy"], training.labels, genre_weights),
    )
