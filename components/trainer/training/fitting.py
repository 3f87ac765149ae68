"""`keras.Model.fit` on one process or several."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from components.trainer.training import devices


def fit(
    model: keras.Model,
    data: tf.data.Dataset,
    *,
    steps_per_epoch: int,
    initial_epoch: int,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.callbacks.History:
    """Trains a compiled model on endless data, on the devices of the strategy that it was made in.

    Several processes train by a loop over Keras's `train_step`, because the `fit` of Keras 3.12
    fails on the first batch under `MultiWorkerMirroredStrategy` (docs/scale.md).

    Args:
      model: The model.
      data: Batches for all devices together, of static shape; the same in each process.
      steps_per_epoch: Batches in an epoch.
      initial_epoch: Number of the first epoch.
      epochs: Number after the last epoch.
      callbacks: Keras callbacks; they run in each process and are not told of the single steps'
        figures where there are several.
    """
    strategy = model.distribute_strategy
    if not devices.several_processes(strategy):
        return model.fit(
            data,
            initial_epoch=initial_epoch,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=list(callbacks),
            verbose=0,
        )
    history = keras.callbacks.History()
    told = keras.callbacks.CallbackList(
        [*callbacks, history], model=model, epochs=epochs, steps=steps_per_epoch, verbose=0
    )
    _make_variables(model, data)
    # Each batch is divided between the processes, so that all steps are those of one process.
    batches = iter(strategy.experimental_distribute_dataset(data))

    @tf.function
    def train_step() -> None:
        strategy.run(model.train_step, args=(next(batches),))

    @tf.function
    def figures() -> dict[str, tf.Tensor]:
        return model.get_metrics_result()  # outside of `run`, over all processes

    model.stop_training = False
    told.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        told.on_epoch_begin(epoch)
        for step in range(steps_per_epoch):
            told.on_train_batch_begin(step)
            train_step()
            told.on_train_batch_end(step)
        told.on_epoch_end(epoch, {name: float(value) for name, value in figures().items()})
        if model.stop_training:
            break
    told.on_train_end()
    return history


def _make_variables(model: keras.Model, data: tf.data.Dataset) -> None:
    """Makes the variables of optimizer and metrics, which a function for all devices cannot."""
    batch = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), data.element_spec)
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=batch)
