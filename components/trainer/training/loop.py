"""Trains a model on two splits of tracks and keeps the best weights by track accuracy.

A model that starts from weights is trained in two phases. First a new head is trained on the
outputs of the frozen body, which are computed once. Then, if it is fine-tuned, the top of the body
is trained as well, at a lower rate and with fixed normalisation statistics. All other models are
trained in one phase.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from components.audio.features import Feature
from components.trainer.data import rows, windows
from components.trainer.data.windows import Tracks
from components.trainer.models import build, entry
from components.trainer.parts import heads
from components.trainer.settings import NO_WEIGHTS, TrainingSettings
from components.trainer.training import chance, devices
from components.trainer.training.body_outputs import (
    body_output_means,
    body_outputs,
    scratch_folder,
    window_outputs,
)
from components.trainer.training.fitting import fit
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
      validation_answers: The model's window probabilities of the validation split, float32
        [tracks, windows_per_track, genres]; values for windows that do not count are meaningless.
        None without a validation split.
      remarks: What the user should know of this training, a sentence each.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float
    validation_answers: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


def train(
    model_name: str,
    training: Tracks,
    validation: Tracks | None,
    *,
    settings: TrainingSettings,
    feature: Feature,
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
      feature: What the tracks hold.
      genres: Names in label order.
      callbacks: Keras callbacks, with track-level validation figures in their logs. With two
        phases, `on_train_begin` and `on_train_end` are called once for each, and epochs count on.
      strategy: Where to run; chosen by `settings.distribution` by default. For several processes
        it has to be made before anything else of TensorFlow, and each of them calls this function
        with the same arguments.

    Raises:
      ValueError: A split is empty, or a track is shorter than a window.
    """
    if training.count < 1 or (validation is not None and validation.count < 1):
        raise ValueError(
            "training and validation need at least one track each. "
            f"Received: {training.count} and {validation.count if validation else None}"
        )
    for tracks in (training, validation) if validation is not None else (training,):
        if not tracks.counting_windows(feature).any(axis=1).all():
            raise ValueError(f"a track is shorter than one window of {feature.name}")
    started = time.monotonic()
    keras.utils.set_random_seed(settings.seed)
    training = training.cached(feature, settings.cache_megabytes)
    if validation is not None:
        validation = validation.cached(feature, settings.cache_megabytes)
    run = _Run(training, validation, settings, feature, len(genres), callbacks)
    policy = devices.precision_policy(settings)
    strategy = strategy or devices.strategy(settings.distribution)
    with devices.precision(policy), strategy.scope():
        model = build(model_name, feature=feature, genre_count=len(genres), settings=settings.model)
        if heads.body_of(model) is None or settings.model.weights == NO_WEIGHTS:
            heads.start_from_scratch(model)
            run.whole(model, peak=settings.learning_rate)
        else:
            with scratch_folder() as scratch:
                run.head(model, scratch)
            if settings.model.fine_tune:
                heads.unfreeze(model, settings.model.fine_tune_share)
                run.whole(model, peak=settings.fine_tune_learning_rate)
    answers = None
    if run.track_accuracy:
        run.track_accuracy.restore()
        answers = run.track_accuracy.best_answers
    if policy != "float32" or devices.several_processes(strategy):
        trained = model.get_weights()
        again = entry(model_name).rebuilt(settings.model, settings.model.weights)
        model = build(model_name, feature=feature, genre_count=len(genres), settings=again)
        model.set_weights(trained)
        if policy != "float32" and validation is not None:
            answers = window_outputs(model, validation, feature=feature)
    best_epoch = run.track_accuracy.best_epoch if run.track_accuracy else run.epochs - 1
    seconds = time.monotonic() - started
    remarks = _remarks(model_name, run)
    return TrainingResult(model, run.history, best_epoch, seconds, answers, remarks)


def _remarks(model_name: str, run: "_Run") -> tuple[str, ...]:
    accuracies = run.history["accuracy"]
    if chance.left_chance(accuracies, chance=run.chance, tracks=run.tracks):
        return ()
    remark = chance.warning(model_name, accuracies, chance=run.chance)
    logging.warning("%s", remark)
    return (remark,)


class _Run:
    """One training: its data, and the state that its phases share."""

    def __init__(
        self,
        training: Tracks,
        validation: Tracks | None,
        settings: TrainingSettings,
        feature: Feature,
        genre_count: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        self.history: dict[str, list[float]] = {}
        self.epochs = 0
        self.track_accuracy: TrackAccuracy | None = None
        self._training = training
        self._validation = validation
        self._settings = settings
        self._feature = feature
        self._callbacks = callbacks
        self._labels = training.labels
        self._weights = np.ones(genre_count, np.float32)
        if settings.class_weights:
            self._weights = windows.genre_weights(self._labels, genre_count)
        self.chance = chance.chance(self._labels, self._weights)
        self.tracks = training.count

    def whole(self, model: keras.Model, *, peak: float) -> None:
        """Trains all trainable layers on augmented windows."""
        settings = self._settings
        data = windows.training_windows(
            self._training, feature=self._feature, genre_weights=self._weights, settings=settings
        )
        steps = windows.steps_per_epoch(self._training.count, settings)
        compile_model(model, settings, peak=peak, steps=steps * settings.epochs)
        inputs = None
        if self._validation:
            inputs = windows.evaluation_windows(self._validation, feature=self._feature)
        self._fit(model, data, inputs, whole_model=model, steps=steps, epochs=settings.epochs)

    def head(self, model: keras.Model, scratch: Path) -> None:
        """Trains the head on the frozen body's outputs, which are computed once.

        It is trained on the mean over each track's windows, with a penalty on its weights: trained
        on the ten windows of each track, it would mostly learn to recognise the track.
        """
        settings, feature, megabytes = self._settings, self._feature, self._settings.cache_megabytes
        body = model.get_layer(heads.BODY)
        body.trainable = False
        head = heads.head_of(model)
        outputs = body_outputs(body, self._training, feature, megabytes, scratch / "training")
        means = body_output_means(outputs, self._training, feature, megabytes, scratch / "means")
        heads.fit_scale(head, *means.moments())
        data = rows.batches(
            means,
            self._labels,
            genre_weights=self._weights,
            batch_size=min(len(means), HEAD_BATCH_SIZE),
            seed=settings.seed,
        )
        heads.penalise(head, settings.model.head_l2 * 100.0 / len(means))
        compile_model(
            head,
            # The penalty replaces weight decay, and label smoothing would be a second penalty.
            dataclasses.replace(settings, weight_decay=0.0, label_smoothing=0.0),
            peak=settings.head_learning_rate,
            steps=_HEAD_STEPS * settings.head_epochs,
        )
        inputs = None
        if self._validation:
            folder = scratch / "validation"
            inputs = rows.in_order(
                body_outputs(body, self._validation, feature, megabytes, folder),
                _HEAD_WINDOWS,
            )
        self._fit(
            head, data, inputs, whole_model=model, steps=_HEAD_STEPS, epochs=settings.head_epochs
        )
        heads.penalise(head, 0.0)

    def _fit(
        self,
        model: keras.Model,
        data: tf.data.Dataset,
        inputs: tf.data.Dataset | None,
        *,
        whole_model: keras.Model,
        steps: int,
        epochs: int,
    ) -> None:
        if inputs is not None and self._validation is not None:
            if self.track_accuracy:
                self.track_accuracy.restore()
            self.track_accuracy = TrackAccuracy(
                inputs,
                self._validation.labels,
                counts=self._validation.counting_windows(self._feature),
                feature=self._feature,
                patience=self._settings.patience,
                whole_model=whole_model,
            ).continue_from(self.track_accuracy)
        fitted = fit(
            model,
            data,
            initial_epoch=self.epochs,
            epochs=self.epochs + epochs,
            steps_per_epoch=steps,
            callbacks=[*([self.track_accuracy] if self.track_accuracy else []), *self._callbacks],
        )
        self.epochs += len(fitted.epoch)
        for name, values in fitted.history.items():
            self.history.setdefault(name, []).extend(float(value) for value in values)


def compile_model(
    model: keras.Model, settings: TrainingSettings, *, peak: float, steps: int
) -> None:
    """Compiles with AdamW on a cosine schedule with warm-up, and smoothed cross-entropy.

    Args:
      model: Compiled in place.
      settings: Warm-up, decay and smoothing.
      peak: Highest learning rate.
      steps: Steps until the rate is back at zero.
    """
    warm_up = max(1, int(settings.warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 100.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    # Scales, shifts and biases are few and have no reason to be small.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=devices.jit_compile(),
    )
