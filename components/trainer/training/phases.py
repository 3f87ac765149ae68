"""The phases of a training: the head on a frozen body, and the whole model on windows."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.trainer.data import windows
from components.trainer.data.tracks import Tracks
from components.trainer.parts import heads
from components.trainer.settings import NO_WEIGHTS, TrainingSettings
from components.trainer.training import devices
from components.trainer.training.body_outputs import (
    batches_in_order,
    body_outputs,
    moments,
    shuffled_batches,
    track_means,
)

HEAD_BATCH_SIZE = 256  # tracks
_HEAD_STEPS = 25  # in an epoch
_HEAD_WINDOWS = 1024  # validated in a step


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training: what is trained, on what, and on which schedule.

    Attributes:
      model: The whole model, or its head.
      batches: Endless batches of static shape, for all devices together.
      validation: What `model` reads of the validation split, for the windows in the order of
        `evaluation_windows`; None without a validation split.
      settings: Warm-up, decay and smoothing.
      peak_rate: Highest learning rate.
      steps: Batches in an epoch.
      epochs: Most epochs.
    """

    model: keras.Model
    batches: tf.data.Dataset
    validation: tf.data.Dataset | None
    settings: TrainingSettings
    peak_rate: float
    steps: int
    epochs: int

    def fit(
        self, *, first_epoch: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> keras.callbacks.History:
        """Compiles the model and trains it on the devices of the strategy it was made in."""
        compile_model(
            self.model, self.settings, peak=self.peak_rate, steps=self.steps * self.epochs
        )
        return self.model.fit(
            self.batches,
            initial_epoch=first_epoch,
            epochs=first_epoch + self.epochs,
            steps_per_epoch=self.steps,
            callbacks=list(callbacks),
            verbose=0,
        )


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is trained on, and how.

    Attributes:
      training: The training split.
      validation: The validation split, if there is one.
      genre_weights: Weight of an example of each genre, float32 [genres].
      settings: The training settings.
    """

    training: Tracks
    validation: Tracks | None
    genre_weights: np.ndarray
    settings: TrainingSettings

    def phases(self, model: keras.Model, folder: Path) -> Iterator[Phase]:
        """Prepares each phase when the one before it has been fitted.

        Args:
          model: The whole model.
          folder: Where outputs of a frozen body are kept until the end of the training.
        """
        if heads.body_of(model) is None or self.settings.model.weights == NO_WEIGHTS:
            heads.start_from_scratch(model)
            yield self._whole_model(model, peak_rate=self.settings.learning_rate)
            return
        yield self._head(model, folder)
        heads.penalise(model, 0.0)
        if self.settings.model.fine_tune:
            heads.unfreeze(model, self.settings.model.fine_tune_share)
            yield self._whole_model(model, peak_rate=self.settings.fine_tune_learning_rate)

    def _whole_model(self, model: keras.Model, *, peak_rate: float) -> Phase:
        """All trainable layers, on augmented windows."""
        settings = self.settings
        return Phase(
            model,
            windows.training_windows(
                self.training, genre_weights=self.genre_weights, settings=settings
            ),
            self.validation and windows.evaluation_windows(self.validation),
            settings,
            peak_rate=peak_rate,
            steps=windows.steps_per_epoch(self.training.originals, settings),
            epochs=settings.epochs,
        )

    def _head(self, model: keras.Model, folder: Path) -> Phase:
        """The head, on the frozen body's outputs, which are computed once.

        It is trained on the mean over each track's windows, with a penalty on its weights: trained
        on the ten windows of each track, it would mostly learn to recognise the track.
        """
        body = model.get_layer(heads.BODY)
        body.trainable = False
        outputs = body_outputs(body, self.training, folder / "training.npy")
        means = track_means(outputs, self.training, folder / "means.npy")
        head = heads.head_of(model)
        heads.fit_scale(head, *moments(means))
        heads.penalise(head, self.settings.model.head_l2 * 100.0 / len(means))
        return Phase(
            head,
            shuffled_batches(
                means,
                self.training.labels,
                genre_weights=self.genre_weights,
                batch_size=min(len(means), HEAD_BATCH_SIZE),
                seed=self.settings.seed,
            ),
            self.validation
            and batches_in_order(
                body_outputs(body, self.validation, folder / "validation.npy"), _HEAD_WINDOWS
            ),
            # The penalty replaces weight decay, and label smoothing would be a second penalty.
            dataclasses.replace(self.settings, weight_decay=0.0, label_smoothing=0.0),
            peak_rate=self.settings.head_learning_rate,
            steps=_HEAD_STEPS,
            epochs=self.settings.head_epochs,
        )


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
