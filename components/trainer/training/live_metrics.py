"""Sends the metrics of every epoch, and the trials of a search, to MLflow while a model trains.

The environment (`MLFLOW_TRACKING_URI`) says where metrics go, not the component's parameters,
because it must not decide whether a cached model is used. Without it nothing is sent. If the store
is down, training continues: a warning is logged, and RunRecorder adds what is missing.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from absl import logging

from components.common import tracking

_RUN_VARIABLE = "MLFLOW_RUN_ID"
_DEFAULT_EXPERIMENT = "gatefold"


class Run:
    """An MLflow run. Without a tracking server it sends nothing.

    Args:
      run_id: Its id; the one in the environment variable `MLFLOW_RUN_ID` by default.

    Attributes:
      run_id: Its id.
      client: MLflow's client; None if nothing is sent, or after the store has failed.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id or os.environ.get(_RUN_VARIABLE)
        self.client: Any = None
        if self.run_id and os.environ.get("MLFLOW_TRACKING_URI"):
            tracking.limit_waiting()
            import mlflow

            self.client = mlflow.MlflowClient()

    @contextmanager
    def tolerating(self, activity: str) -> Iterator[None]:
        """Turns an error of the store into a warning and stops sending to this run."""
        try:
            yield
        except tracking.store_errors() as error:
            _warn(activity, error)
            self.client = None

    def log(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Logs metrics at a step."""
        if self.client is not None:
            with self.tolerating(f"metrics of step {step}"):
                for name, value in metrics.items():
                    self.client.log_metric(self.run_id, name, float(value), step=step)

    def end(self, status: str) -> None:
        """Ends the run."""
        if self.client is not None:
            with self.tolerating("the end of a run"):
                self.client.set_terminated(self.run_id, status=status)

    def child(self, name: str, params: Mapping[str, Any]) -> "Run":
        """Opens a run below this one, with its tag; one that sends nothing if this one does."""
        child = Run()
        child.client = None
        if self.client is not None:
            with self.tolerating(f"the run {name}"):
                parent = self.client.get_run(self.run_id)
                tags = {"mlflow.parentRunId": self.run_id}
                if tracking.RUN_ID_TAG in parent.data.tags:
                    tags[tracking.RUN_ID_TAG] = parent.data.tags[tracking.RUN_ID_TAG]
                created = self.client.create_run(
                    parent.info.experiment_id, run_name=name, tags=tags
                )
                child = Run(created.info.run_id)
                for key, value in params.items():
                    self.client.log_param(child.run_id, key, value)
        return child


class LiveMetrics(keras.callbacks.Callback):
    """Logs the metrics of each epoch.

    Args:
      run: The run to log to; the one named in the environment by default.
    """

    def __init__(self, run: Run | None = None) -> None:
        super().__init__()
        self._run = run or Run()
        self._epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch. Epochs of a second training phase continue the count."""
        self._epoch += 1
        self._run.log(logs or {}, step=self._epoch)


@contextmanager
def child_run(name: str, params: Mapping[str, Any]) -> Iterator[Run]:
    """Opens a run below the one named in the environment, and ends it afterwards."""
    run = Run().child(name, params)
    try:
        yield run
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


@contextmanager
def live_run(context: Any, model: str) -> Iterator[None]:
    """Opens the run of a branch, to which the `with` block logs.

    The run stays open for the Trainer that follows a Tuner, and for RunRecorder, which completes
    it. If the block fails, the run is marked as failed.

    Args:
      context: The executor's TFX context, which holds the id of the pipeline's run.
      model: Name of the branch.
    """
    uri, run_id = os.environ.get("MLFLOW_TRACKING_URI", ""), tracking.current_run_id(context)
    before = os.environ.pop(_RUN_VARIABLE, None)
    try:
        if uri and run_id:
            try:
                runs = tracking.PipelineRuns(uri, experiment=_experiment(context), run_id=run_id)
                os.environ[_RUN_VARIABLE] = runs.branch_run(model)
            except tracking.store_errors() as error:
                _warn(f"the training of {model}", error)
        try:
            yield
        except BaseException:
            Run().end("FAILED")
            raise
    finally:
        os.environ.pop(_RUN_VARIABLE, None)
        if before is not None:
            os.environ[_RUN_VARIABLE] = before


def _experiment(context: Any) -> str:
    pipeline = getattr(getattr(context, "pipeline_info", None), "id", "")
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", "") or pipeline or _DEFAULT_EXPERIMENT


def _warn(activity: str, error: Exception) -> None:
    logging.warning(
        "MLflow's store does not take %s: training goes on without it (%s)",
        activity,
        str(error).partition("\n")[0],
    )
