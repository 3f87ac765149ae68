"""Training: from two splits of tracks to a model, with the best weights by track accuracy.

A model that starts from weights is trained in two phases: first a new head on the frozen body,
whose outputs are computed once; then, if it is to be fine-tuned, the top of the body too, at a
lower rate and with its normalisation statistics fixed. All other models are trained at once.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer import devices, windows
from components.trainer.models import build, heads
from components.trainer.settings import NO_WEIGHTS, TrainingSettings
from components.trainer.track_accuracy import TrackAccuracy
from components.trainer.windows import Tracks

_HEAD_BATCH_SIZE = 256  # tracks
_HEAD_STEPS = 25  # in an epoch


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes:
      model: From one window to probabilities, float32 throughout, with the best weights.
      history: Metrics by epoch; with a validation split `val_track_accuracy`, `val_track_loss`
        and `val_window_accuracy` among them.
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
      callbacks: Told of every epoch, with track-level validation figures in their logs. Where
        there are two phases, `on_train_begin` and `on_train_end` come once for each, and epochs
        count on.
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
    training = training.cached(feature, settings.cache_megabytes)
    if validation is not None:
        validation = validation.cached(feature, settings.cache_megabytes)
    run = _Run(training, validation, settings, feature, len(genres), callbacks)
    policy = devices.precision_policy(settings)
    with _precision(policy), (strategy or devices.strategy(settings.distribution)).scope():
        model = build(model_name, feature=feature, genre_count=len(genres), settings=settings.model)
        if heads.body_of(model) is None or settings.model.weights == NO_WEIGHTS:
            run.whole(model, peak=settings.learning_rate)
        else:
            run.head(model)
            if settings.model.fine_tune:
                heads.unfreeze(model, settings.model.fine_tune_share)
                run.whole(model, peak=settings.fine_tune_learning_rate)
    if run.watch:
        run.watch.restore()
    if policy != "float32":
        trained = model.get_weights()
        plain = dataclasses.replace(settings.model, weights=NO_WEIGHTS)
        model = build(model_name, feature=feature, genre_count=len(genres), settings=plain)
        model.set_weights(trained)
    best_epoch = run.watch.best_epoch if run.watch else run.epochs - 1
    return TrainingResult(model, run.history, best_epoch, time.monotonic() - started)


def window_outputs(model: keras.Model, tracks: Tracks, *, feature: Feature) -> np.ndarray:
    """What a network makes of every window: [tracks, windows_per_clip, …]."""
    found = model.predict(windows.evaluation_windows(tracks, feature=feature), verbose=0)
    return windows.by_track(found, feature=feature, count=tracks.count)


def with_body_outputs(
    model_name: str,
    splits: Sequence[Tracks],
    *,
    settings: TrainingSettings,
    feature: Feature,
    genres: Sequence[str],
) -> tuple[Tracks, ...]:
    """The same splits for many trainings of a head: its frozen body is asked once, here.

    Args:
      model_name: In the catalog.
      splits: What the heads will learn from and be judged on.
      settings: What the trainings share: the body, precision, devices and memory.
      feature: What the tracks hold.
      genres: Names of the labels, in their order.

    Returns:
      The splits with their `body_outputs`; as they were where no body stays frozen.
    """
    if not settings.model.frozen:
        return tuple(splits)
    policy = devices.precision_policy(settings)
    with _precision(policy), devices.strategy(settings.distribution).scope():
        model = build(model_name, feature=feature, genre_count=len(genres), settings=settings.model)
        body = heads.body_of(model)
        if body is None:
            return tuple(splits)
        # Each training looks at the labels again.
        kept = [tracks.cached(feature, settings.cache_megabytes) for tracks in splits]
        return tuple(
            dataclasses.replace(tracks, body_outputs=_body_outputs(body, tracks, feature))
            for tracks in kept
        )


def _body_outputs(body: keras.Model, tracks: Tracks, feature: Feature) -> np.ndarray:
    if tracks.body_outputs is not None:
        return tracks.body_outputs
    return window_outputs(body, tracks, feature=feature).astype(np.float32)


class _Run:
    """One training: its data, and what its phases leave for each other."""

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
        self.watch: TrackAccuracy | None = None
        self._training = training
        self._validation = validation
        self._settings = settings
        self._feature = feature
        self._callbacks = callbacks
        self._labels = training.labels()
        self._validation_labels = validation.labels() if validation else np.zeros(0, np.int64)
        self._weights = np.ones(genre_count, np.float32)
        if settings.class_weights:
            self._weights = windows.genre_weights(self._labels, genre_count)

    def whole(self, model: keras.Model, *, peak: float) -> None:
        """Trains on windows whatever of the model is trainable."""
        settings = self._settings
        data = windows.training_windows(
            self._training, feature=self._feature, genre_weights=self._weights, settings=settings
        )
        steps = windows.steps_per_epoch(self._training.count, settings)
        compile_model(model, settings, peak=peak, steps=steps * settings.epochs)
        inputs = None
        if self._validation:
            inputs = windows.evaluation_windows(self._validation, feature=self._feature)
        self._fit(model, data, inputs, kept=model, steps=steps, epochs=settings.epochs)

    def head(self, model: keras.Model) -> None:
        """Trains the head on what the frozen body makes of every window, computed once.

        It learns from the mean over a track's windows, of which there are few, and is held back by
        a penalty: on ten windows of one track it would mostly learn the track.
        """
        settings = self._settings
        body = model.get_layer(heads.BODY)
        body.trainable = False
        head = heads.head_of(model)
        means = _body_outputs(body, self._training, self._feature).mean(axis=1)
        heads.fit_scale(head, means)
        data = windows.batches(
            means,
            self._labels,
            genre_weights=self._weights,
            batch_size=min(len(means), _HEAD_BATCH_SIZE),
            seed=settings.seed,
        )
        heads.penalise(head, settings.model.head_l2 * 100.0 / len(means))
        compile_model(
            head,
            # The penalty takes the place of the decay, and smoothing would be another one.
            dataclasses.replace(settings, weight_decay=0.0, label_smoothing=0.0),
            peak=settings.head_learning_rate,
            steps=_HEAD_STEPS * settings.head_epochs,
        )
        inputs = None
        if self._validation:
            values = _body_outputs(body, self._validation, self._feature)
            values = values.reshape(-1, values.shape[-1])
            inputs = tf.data.Dataset.from_tensor_slices(values).batch(1024)
        self._fit(head, data, inputs, kept=model, steps=_HEAD_STEPS, epochs=settings.head_epochs)
        heads.penalise(head, 0.0)

    def _fit(
        self,
        model: keras.Model,
        data: tf.data.Dataset,
        inputs: tf.data.Dataset | None,
        *,
        kept: keras.Model,
        steps: int,
        epochs: int,
    ) -> None:
        if inputs is not None:
            if self.watch:
                self.watch.restore()
            self.watch = TrackAccuracy(
                inputs,
                self._validation_labels,
                feature=self._feature,
                patience=self._settings.patience,
                kept=kept,
            ).continues(self.watch)
        fitted = model.fit(
            data,
            initial_epoch=self.epochs,
            epochs=self.epochs + epochs,
            steps_per_epoch=steps,
            callbacks=[*([self.watch] if self.watch else []), *self._callbacks],
            verbose=0,
        )
        self.epochs += len(fitted.epoch)
        for name, values in fitted.history.items():
            self.history.setdefault(name, []).extend(float(value) for value in values)


def compile_model(
    model: keras.Model, settings: TrainingSettings, *, peak: float, steps: int
) -> None:
    """AdamW on a cosine schedule with warm-up, and smoothed cross-entropy.

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
