"""Scores whole validation tracks after each epoch and keeps the best weights."""

import keras
import numpy as np
import tensorflow as tf

from components.common.answers import TrackAnswers
from components.common.metrics import track_scores, window_scores
from components.trainer.data import windows
from components.trainer.data.tracks import Tracks
from components.trainer.validation import in_order


class TrackAccuracy(keras.callbacks.Callback):
    """Scores whole tracks after each epoch, stops early, and keeps the best weights.

    It must come before other callbacks, which then find `val_track_accuracy`, `val_track_loss` and
    `val_window_accuracy` in their logs. Of two epochs with equal accuracy, the one with the lower
    track-level loss is better.

    Args:
      validation: The tracks.
      patience: Epochs without improvement before training stops; 0 never stops early.
      whole_model: The model whose weights are kept; the trained one may be its head.

    Attributes:
      best_epoch: The best epoch so far, -1 before the first.
      best_outputs: The window probabilities of that epoch, [tracks, windows_per_track, genres].
    """

    def __init__(self, validation: Tracks, *, patience: int, whole_model: keras.Model) -> None:
        super().__init__()
        self._validation = validation
        self._patience = patience
        self._whole_model = whole_model
        self._inputs: tf.data.Dataset | None = None
        self._epochs_since_best = 0
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._best_weights: list[np.ndarray] = []
        self.best_epoch = -1
        self.best_outputs: np.ndarray | None = None

    @property
    def answers(self) -> TrackAnswers | None:
        """`best_outputs` by track and clip; None before the first epoch."""
        if self.best_outputs is None:
            return None
        return in_order(
            self._validation.track_ids,
            self._validation.labels,
            self.best_outputs,
            self._validation.counting_windows,
            clips=self._validation.feature.clips_per_track,
        )

    def start_phase(self, inputs: tf.data.Dataset) -> None:
        """Begins a phase of the training, from the best weights so far.

        Args:
          inputs: What the trained model reads, for the windows in the order of
            `evaluation_windows`.
        """
        if self._best_weights:
            self.restore()
        self._inputs = inputs
        self._epochs_since_best = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the validation tracks, adds the figures to `logs`, and stops if it is time."""
        outputs = self.model.predict(self._inputs, verbose=0)
        probabilities = windows.by_track(outputs, self._validation)
        labels, counts = self._validation.labels, self._validation.counting_windows
        tracks = track_scores(probabilities, labels, counts)
        if logs is not None:
            logs["val_track_accuracy"] = tracks.accuracy
            logs["val_track_loss"] = tracks.loss
            single_windows = window_scores(probabilities, labels, counts)
            logs["val_window_accuracy"] = single_windows.accuracy
        self._epochs_since_best += 1
        if (tracks.accuracy, -tracks.loss) > self._best:
            self._best = (tracks.accuracy, -tracks.loss)
            self._best_weights = self._whole_model.get_weights()
            self.best_epoch = epoch
            self.best_outputs = probabilities
            self._epochs_since_best = 0
        elif self._patience and self._epochs_since_best >= self._patience:
            self.model.stop_training = True

    def restore(self) -> int:
        """Restores the best weights; returns their epoch."""
        self._whole_model.set_weights(self._best_weights)
        return self.best_epoch
