"""Sends the metrics of every epoch to MLflow while a model trains."""

import os

import keras


class LiveMetrics(keras.callbacks.Callback):
    """Logs each epoch to the MLflow run that MLflow's own environment variables name.

    `MLFLOW_TRACKING_URI` and `MLFLOW_RUN_ID` are set by whoever runs the pipeline, not by the
    component's parameters: where metrics go must not decide whether a cached model is used. Without
    them nothing is sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self._run_id = os.environ.get("MLFLOW_RUN_ID")
        self._client = None
        self._epoch = 0
        if self._run_id and os.environ.get("MLFLOW_TRACKING_URI"):
            import mlflow

            self._client = mlflow.MlflowClient()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch; a second phase of training counts on."""
        self._epoch += 1
        if self._client is None:
            return
        for name, value in (logs or {}).items():
            self._client.log_metric(self._run_id, name, float(value), step=self._epoch)
