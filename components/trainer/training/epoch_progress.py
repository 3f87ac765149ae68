"""Reports the progress of a training."""

import keras

from components.common import progress


class EpochProgress(keras.callbacks.Callback):
    """Reports each finished epoch to `components.common.progress`."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._done = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports one more epoch, with its track-level validation accuracy."""
        self._done += 1
        accuracy = (logs or {}).get("val_track_accuracy")
        figure = "" if accuracy is None else f", validation {accuracy:.2f}"
        progress.report(f"epochs{figure}", self._done, max(self._epochs, self._done))
