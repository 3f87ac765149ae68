"""Rates of whole training steps, beside Keras's `fit` on arrays that are ready in memory.

Both train the same compiled network in turns, in one process: a slow moment of the machine slows
both. A rate is that of an epoch; the first epoch of a turn, in which graphs are made and buffers
filled, is not counted.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer.data import rows, windows
from components.trainer.data.windows import Tracks
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.settings import NO_WEIGHTS, TrainingSettings
from components.trainer.training import devices
from components.trainer.training.fitting import fit
from components.trainer.training.loop import HEAD_BATCH_SIZE, compile_model

_EPOCHS = 2  # of a turn, after the first

Batches = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rates:
    """Examples a second, one figure for each epoch.

    Attributes:
      ours: Of the pipeline's training: cutting and augmenting in tf.data, and its own `fit`.
      ready: Of `keras.Model.fit` on arrays.
      batch_size: Examples in a step.
      whole_model: Whether examples are windows; else they are tracks' means of a frozen body's
        outputs, and the network is the head on them.
    """

    ours: Sequence[float]
    ready: Sequence[float]
    batch_size: int
    whole_model: bool

    @property
    def ratio(self) -> float:
        """Of the medians, ours over ready."""
        return statistics.median(self.ours) / statistics.median(self.ready)

    @property
    def step_ms(self) -> float:
        """Milliseconds that a step of ours takes."""
        return 1000.0 * self.batch_size / statistics.median(self.ours)


def measure(
    model_name: str,
    split: Tracks,
    *,
    feature: Feature,
    genre_count: int,
    settings: TrainingSettings,
    steps: int,
    turns: int = 3,
) -> Rates:
    """Trains a model's network in both ways, turn by turn.

    Args:
      model_name: A model of the catalog.
      split: The tracks.
      feature: What they hold.
      genre_count: Genres.
      settings: Settings of the training; where they freeze the body, its head is trained.
      steps: Steps in an epoch.
      turns: How often either way has its turn.
    """
    even = np.ones(genre_count, np.float32)
    split = split.cached(feature, settings.cache_megabytes)
    with devices.precision(devices.precision_policy(settings)):
        network = build(
            model_name, feature=feature, genre_count=genre_count, settings=settings.model
        )
        if settings.model.frozen:
            network = heads.head_of(network)
            data = _body_outputs(network, split, even)
        else:
            if settings.model.weights == NO_WEIGHTS:
                heads.start_from_scratch(network)
            data = windows.training_windows(
                split, feature=feature, genre_weights=even, settings=settings
            )
        every_step = steps * (_EPOCHS + 1) * turns * 2
        compile_model(network, settings, peak=settings.learning_rate, steps=every_step)
        values, labels, weights = _ready(data, steps)
        batch_size = len(values) // steps
        ours: list[float] = []
        ready: list[float] = []
        for _ in range(turns):
            watch = _Watch(len(values))
            fit(
                network,
                data,
                steps_per_epoch=steps,
                initial_epoch=0,
                epochs=_EPOCHS + 1,
                callbacks=[watch],
            )
            ours += watch.rates[1:]
            watch = _Watch(len(values))
            network.fit(
                values,
                labels,
                sample_weight=weights,
                batch_size=batch_size,
                epochs=_EPOCHS + 1,
                callbacks=[watch],
                verbose=0,
            )
            ready += watch.rates[1:]
    keras.backend.clear_session()
    return Rates(ours, ready, batch_size, not settings.model.frozen)


def _body_outputs(head: keras.Model, split: Tracks, genre_weights: np.ndarray) -> tf.data.Dataset:
    """Random numbers in place of a frozen body's outputs, read as in training."""
    outputs = np.random.default_rng(0).normal(size=(split.count, head.input_shape[-1]))
    return rows.batches(
        rows.Rows.of(outputs.astype(np.float32)),
        split.labels,
        genre_weights=genre_weights,
        batch_size=min(split.count, HEAD_BATCH_SIZE),
        seed=0,
    )


def _ready(data: tf.data.Dataset, steps: int) -> Batches:
    """The first batches of `data`, as arrays."""
    batches = list(data.take(steps).as_numpy_iterator())
    values, labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return values, labels, weights


class _Watch(keras.callbacks.Callback):
    """Notes the rate of every epoch."""

    def __init__(self, examples: int, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.rates: list[float] = []
        self._examples = examples
        self._clock = clock
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = self._clock()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.rates.append(self._examples / (self._clock() - self._started))
