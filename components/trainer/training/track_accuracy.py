"""Scores whole validation tracks after each epoch and keeps the best weights."""

import keras
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.common.metrics import track_scores, window_scores
from components.trainer.data import windows


class TrackAccuracy(keras.callbacks.Callback):
    """Scores whole tracks after each epoch, stops early, and keeps the best weights.

    It must come before other callbacks, which then find `val_track_accuracy`, `val_track_loss` and
    `val_window_accuracy` in their logs. Of two epochs with equal accuracy, the one with the lower
    track-level loss is better.

    Args:
      inputs: The model's inputs, in the order of `evaluation_windows`.
      labels: int64 [tracks].
      counts: bool [tracks, windows_per_track], which windows lie within sound and so count.
      feature: What the tracks hold.
      patience: Epochs without improvement before training stops; 0 never stops early.
      whole_model: The model whose weights are kept; the trained one may be its head.

    Attributes:
      best_epoch: The best epoch so far, -1 before the first.
      best_answers: The window probabilities of that epoch, [tracks, windows_per_track, genres].
    """

    def __init__(
        self,
        inputs: tf.data.Dataset,
        labels: np.ndarray,
        *,
        counts: np.ndarray,
        feature: Feature,
        patience: int,
        whole_model: keras.Model,
    ) -> None:
        super().__init__()
        self._inputs = inputs
        self._labels = labels
        self._counts = counts
        self._feature = feature
        self._patience = patience
        self._whole_model = whole_model
        self._epochs_since_best = 0
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._best_weights: list[np.ndarray] = whole_model.get_weights()
        self.best_epoch = -1
        self.best_answers: np.ndarray | None = None

    def continue_from(self, earlier: "TrackAccuracy | None") -> "TrackAccuracy":
        """Takes over the best epoch of an earlier phase of the same model, to be improved on."""
        if earlier is not None:
            self._best = earlier._best
            self._best_weights = earlier._best_weights
            self.best_epoch = earlier.best_epoch
            self.best_answers = earlier.best_answers
        return self

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the validation tracks, adds the figures to `logs`, and stops if it is time."""
        probabilities = windows.by_track(
            self.model.predict(self._inputs, verbose=0),
            feature=self._feature,
            count=len(self._labels),
        )
        tracks = track_scores(probabilities, self._labels, self._counts)
        if logs is not None:
            logs["val_track_accuracy"] = tracks.accuracy
            logs["val_track_loss"] = tracks.loss
            single_windows = window_scores(probabilities, self._labels, self._counts)
            logs["val_window_accuracy"] = single_windows.accuracy
        self._epochs_since_best += 1
        if (tracks.accuracy, -tracks.loss) > self._best:
            self._best = (tracks.accuracy, -tracks.loss)
            self._best_weights = self._whole_model.get_weights()
            self.best_epoch = epoch
            self.best_answers = probabilities
            self._epochs_since_best = 0
        elif self._patience and self._epochs_since_best >= self._patience:
            self.model.stop_training = True

    def restore(self) -> int:
        """Restores the best weights; returns their epoch."""
        self._whole_model.set_weights(self._best_weights)
        return self.best_epoch
