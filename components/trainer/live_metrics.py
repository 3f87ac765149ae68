"""Sends the metrics of every epoch, and the trials of a search, to MLflow while a model trains.

`MLFLOW_TRACKING_URI` and `MLFLOW_RUN_ID` are set by whoever runs the pipeline, not by the
component's parameters: where metrics go must not decide whether a cached model is used. Without
them nothing is sent.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras


class Run:
    """An MLflow run to write to; or none, when nothing is sent.

    Args:
      run_id: Its id. Without one it is the run that MLflow's environment variables name.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id or os.environ.get("MLFLOW_RUN_ID")
        self.client: Any = None
        if self.run_id and os.environ.get("MLFLOW_TRACKING_URI"):
            import mlflow

            self.client = mlflow.MlflowClient()

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Logs metrics at a step."""
        if self.client is not None:
            for name, value in metrics.items():
                self.client.log_metric(self.run_id, name, float(value), step=step)


class LiveMetrics(keras.callbacks.Callback):
    """Logs each epoch.

    Args:
      run_id: As `Run`'s.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self._run = Run(run_id)
        self._epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch; a second phase of training counts on."""
        self._epoch += 1
        self._run.log(logs or {}, step=self._epoch)


@contextmanager
def child_run(
    name: str, params: Mapping[str, Any], *, tags: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Opens a run below the one that the environment names, and ends it.

    Args:
      name: What it is called.
      params: Its parameters.
      tags: Its tags, beside that of its parent.
    """
    parent = Run()
    if parent.client is None:
        yield parent
        return
    experiment = parent.client.get_run(parent.run_id).info.experiment_id
    marks = {"mlflow.parentRunId": parent.run_id, **(tags or {})}
    opened = parent.client.create_run(experiment, run_name=name, tags=marks)
    child = Run(opened.info.run_id)
    for key, value in params.items():
        child.client.log_param(child.run_id, key, value)
    try:
        yield child
    except BaseException:
        child.client.set_terminated(child.run_id, status="FAILED")
        raise
    child.client.set_terminated(child.run_id)
