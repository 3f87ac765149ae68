"""Training: from two splits of tracks to a model, with the best weights by track accuracy."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer import devices, windows
from components.trainer.models import build
from components.trainer.scoring import track_scores, window_scores
from components.trainer.settings import TrainingSettings
from components.trainer.windows import Tracks


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes:
      model: From one window to probabilities, float32 throughout, with the best weights.
      history: Metrics by epoch, `val_track_accuracy` and `val_track_loss` among them.
      best_epoch: Zero-based epoch whose weights the model has.
      seconds: Wall-clock time, the building of the model included.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float


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
      training: What it learns from.
      validation: What decides, after each epoch, whether it got better. None trains for all
        epochs and keeps the last weights.
      settings: How.
      feature: What the tracks hold.
      genres: Names of the labels, in their order.
      callbacks: Told of every epoch, with track-level validation figures in their logs. Where a
        head is trained first, `on_train_begin` and `on_train_end` come once for each phase, and
        epochs count on.
      strategy: Where to run; picked from the devices that are there unless given.

    Raises:
      ValueError: A split is empty.
    """
    if training.count < 1 or (validation is not None and validation.count < 1):
        raise ValueError(
            "training and validation need at least one track each. "
            f"Received: {training.count} and {validation.count if validation else None}"
        )
    started = time.monotonic()
    keras.utils.set_random_seed(settings.seed)
    strategy = strategy or devices.strategy(settings.distribution)
    weights = np.ones(len(genres), np.float32)
    if settings.class_weights:
        weights = windows.genre_weights(training.labels(), len(genres))
    steps = windows.steps_per_epoch(training.count, settings)
    watch = None
    with _precision(devices.precision_policy(settings)), strategy.scope():
        model = build(model_name, feature=feature, genre_count=len(genres), settings=settings.model)
        _compile(
            model,
            settings,
            peak=settings.learning_rate,
            steps=steps * settings.epochs,
        )
    if validation is not None:
        watch = TrackAccuracy(validation, feature=feature, settings=settings)
    fitted = model.fit(
        windows.training_windows(
            training, feature=feature, genre_weights=weights, settings=settings
        ),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        callbacks=[*([watch] if watch else []), *callbacks],
        verbose=0,
    )
    best_epoch = len(fitted.epoch) - 1
    if watch:
        best_epoch = watch.restore()
    return TrainingResult(model, fitted.history, best_epoch, time.monotonic() - started)


def window_probabilities(model: keras.Model, tracks: Tracks, *, feature: Feature) -> np.ndarray:
    """What a model says of every window: float32 [tracks, windows_per_clip, genres]."""
    found = model.predict(windows.evaluation_windows(tracks, feature=feature), verbose=0)
    return windows.by_track(found, feature=feature, count=tracks.count)


class TrackAccuracy(keras.callbacks.Callback):
    """Scores whole tracks after each epoch, stops when they get no better, keeps the best weights.

    It comes before the caller's callbacks, which find `val_track_accuracy`, `val_track_loss` and
    `val_window_accuracy` in their logs. Of two epochs with equal accuracy, that with the lower
    track-level loss is the better one.
    """

    def __init__(self, tracks: Tracks, *, feature: Feature, settings: TrainingSettings) -> None:
        super().__init__()
        self._feature = feature
        self._patience = settings.patience
        self._count = tracks.count
        self._labels = tracks.labels()
        self._windows = windows.evaluation_windows(
            tracks, feature=feature, cache_megabytes=settings.cache_megabytes
        )
        self._best: tuple[float, float] | None = None
        self._best_epoch = -1
        self._best_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = windows.by_track(
            self.model.predict(self._windows, verbose=0), feature=self._feature, count=self._count
        )
        tracks = track_scores(found, self._labels)
        if logs is not None:
            logs["val_track_accuracy"] = tracks.accuracy
            logs["val_track_loss"] = tracks.loss
            logs["val_window_accuracy"] = window_scores(found, self._labels).accuracy
        if self._best is None or (tracks.accuracy, -tracks.loss) > self._best:
            self._best = (tracks.accuracy, -tracks.loss)
            self._best_epoch = epoch
            self._best_weights = self.model.get_weights()
        elif self._patience and epoch - self._best_epoch >= self._patience:
            self.model.stop_training = True

    def restore(self) -> int:
        """Puts the best weights back and says which epoch they are of."""
        self.model.set_weights(self._best_weights)
        return self._best_epoch


def _compile(model: keras.Model, settings: TrainingSettings, *, peak: float, steps: int) -> None:
    warm_up = max(1, int(settings.warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 100.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    # A scale, a shift and a bias are few and have no reason to be small.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=devices.jit_compile(),
    )


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
