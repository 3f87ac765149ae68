"""What happens after each epoch: whole tracks are scored, and the best weights are kept."""

import keras
import numpy as np
import tensorflow as tf

from components.audio.features import Feature
from components.trainer import windows
from components.trainer.scoring import track_scores, window_scores


class TrackAccuracy(keras.callbacks.Callback):
    """Scores whole tracks after each epoch, stops when they get no better, keeps the best weights.

    It comes before the caller's callbacks, which find `val_track_accuracy`, `val_track_loss` and
    `val_window_accuracy` in their logs. Of two epochs with equal accuracy, that with the lower
    track-level loss is the better one.

    Args:
      inputs: What the model reads, in `evaluation_windows`' order.
      labels: int64 [tracks].
      feature: What the tracks hold.
      patience: Epochs without a better one before training stops; 0 never stops it.
      kept: The model whose weights are kept.
    """

    def __init__(
        self,
        inputs: tf.data.Dataset,
        labels: np.ndarray,
        *,
        feature: Feature,
        patience: int,
        kept: keras.Model,
    ) -> None:
        super().__init__()
        self._inputs = inputs
        self._labels = labels
        self._feature = feature
        self._patience = patience
        self._kept = kept
        self._since = 0
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._best_weights: list[np.ndarray] = kept.get_weights()
        self.best_epoch = -1

    def continues(self, earlier: "TrackAccuracy | None") -> "TrackAccuracy":
        """Has to beat the best epoch of an earlier phase of the same model, or falls back to it."""
        if earlier is not None:
            self._best = earlier._best
            self._best_weights = earlier._best_weights
            self.best_epoch = earlier.best_epoch
        return self

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the validation tracks, adds the figures to `logs` and decides."""
        found = windows.by_track(
            self.model.predict(self._inputs, verbose=0),
            feature=self._feature,
            count=len(self._labels),
        )
        tracks = track_scores(found, self._labels)
        if logs is not None:
            logs["val_track_accuracy"] = tracks.accuracy
            logs["val_track_loss"] = tracks.loss
            logs["val_window_accuracy"] = window_scores(found, self._labels).accuracy
        self._since += 1
        if (tracks.accuracy, -tracks.loss) > self._best:
            self._best = (tracks.accuracy, -tracks.loss)
            self._best_weights = self._kept.get_weights()
            self.best_epoch = epoch
            self._since = 0
        elif self._patience and self._since >= self._patience:
            self.model.stop_training = True

    def restore(self) -> int:
        """Puts the best weights back and says which epoch they are of."""
        self._kept.set_weights(self._best_weights)
        return self.best_epoch
