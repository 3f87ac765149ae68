"""Compiles a network and fits it, on one process or several."""

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from components.trainer.settings import TrainingSettings
from components.trainer.training import devices


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training: what is trained, on what, and on which schedule.

    Attributes:
      model: The whole model, or its head.
      batches: Endless batches for all devices together, of static shape; the same in each process.
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


def fit(
    phase: Phase, *, first_epoch: int, callbacks: Sequence[keras.callbacks.Callback]
) -> keras.callbacks.History:
    """Compiles a phase's model and trains it, on the devices of the strategy it was made in.

    Several processes train by a loop over Keras's `train_step`, because the `fit` of Keras 3.12
    fails on the first batch under `MultiWorkerMirroredStrategy` (docs/scale.md).

    Args:
      phase: The phase.
      first_epoch: Number of its first epoch.
      callbacks: Keras callbacks; they run in each process and are not told of the single steps'
        figures where there are several.
    """
    model, last_epoch = phase.model, first_epoch + phase.epochs
    compile_model(model, phase.settings, peak=phase.peak_rate, steps=phase.steps * phase.epochs)
    strategy = model.distribute_strategy
    if not devices.several_processes(strategy):
        return model.fit(
            phase.batches,
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=phase.steps,
            callbacks=list(callbacks),
            verbose=0,
        )
    history = keras.callbacks.History()
    callback_list = keras.callbacks.CallbackList(
        [*callbacks, history], model=model, epochs=last_epoch, steps=phase.steps, verbose=0
    )
    _make_variables(model, phase.batches)
    # Each batch is divided between the processes, so that all steps are those of one process.
    batches = iter(strategy.experimental_distribute_dataset(phase.batches))

    @tf.function
    def train_step() -> None:
        strategy.run(model.train_step, args=(next(batches),))

    @tf.function
    def figures() -> dict[str, tf.Tensor]:
        return model.get_metrics_result()  # outside of `run`, over all processes

    model.stop_training = False
    callback_list.on_train_begin()
    for epoch in range(first_epoch, last_epoch):
        model.reset_metrics()
        callback_list.on_epoch_begin(epoch)
        for step in range(phase.steps):
            callback_list.on_train_batch_begin(step)
            train_step()
            callback_list.on_train_batch_end(step)
        callback_list.on_epoch_end(epoch, {name: float(value) for name, value in figures().items()})
        if model.stop_training:
            break
    callback_list.on_train_end()
    return history


def _make_variables(model: keras.Model, data: tf.data.Dataset) -> None:
    """Makes the variables of optimizer and metrics, which a function for all devices cannot."""
    batch = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), data.element_spec)
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=batch)
