"""The MLflow runs of a run of the pipeline, found by its id in every process that writes to them.

A run of the pipeline is one MLflow run with a run below it for each branch. All of them have the
tag `gatefold.run_id`; whoever comes first creates them. MLflow itself is imported with the first
`PipelineRuns`.
"""

import datetime
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Metric

RUN_ID_TAG = "gatefold.run_id"
BRANCH_TAG = "gatefold.branch"
_RUN_ID_PROPERTY = "run_id"
# For runners that do not tell executors the id of the run (Kubeflow Pipelines).
RUN_ID_VARIABLE = "GATEFOLD_RUN_ID"

ARTIFACT_FOLDER = "mlruns"
_LONGEST_VALUE = 500
_MOST_METRICS = 1000  # in one call, the store's limit


def current_run_id(context: Any) -> str:
    """Names the run of the pipeline that an executor belongs to.

    Args:
      context: The executor's TFX context, or None.

    Returns:
      `GATEFOLD_RUN_ID` where it is set, else what the runner says; "" where nobody says.
    """
    return os.environ.get(RUN_ID_VARIABLE, "") or getattr(context, "pipeline_run_id", None) or ""


def note_run(output_dict: Mapping[str, Iterable[Any]], context: Any) -> None:
    """Notes in an executor's output artifacts which run of the pipeline executed it.

    Args:
      output_dict: The executor's.
      context: Its TFX context, or None.
    """
    run_id = current_run_id(context)
    if run_id:
        for artifacts in output_dict.values():
            for artifact in artifacts:
                artifact.set_string_custom_property(_RUN_ID_PROPERTY, run_id)


def is_cached(artifact: Any, run_id: str) -> bool | None:
    """Whether another run of the pipeline made an artifact; None where `note_run` knew no run."""
    made_in = artifact.get_string_custom_property(_RUN_ID_PROPERTY)
    return made_in != run_id if made_in else None


def store_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises where its store is down or refuses."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def limit_waiting() -> None:
    """Lets MLflow's client give up on a silent server in seconds; by default it takes minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


class PipelineRuns:
    """The MLflow runs of one run of the pipeline.

    Attributes:
      client: MLflow's client of the store.
      run_id: Id of the pipeline's run (not of an MLflow run).
    """

    def __init__(self, uri: str, *, experiment: str, run_id: str) -> None:
        """Opens the store, and creates the experiment where it is missing.

        Args:
          uri: MLflow's tracking URI.
          experiment: Name of the experiment.
          run_id: Id of the pipeline's run.
        """
        limit_waiting()
        import mlflow

        self.client = mlflow.MlflowClient(uri)
        self.run_id = run_id
        self._known: dict[str, str] = {}  # MLflow's ids by branch
        self._experiment = self._find_experiment(uri, experiment)

    def pipeline_run(self) -> str:
        """Finds or creates the run of the whole pipeline; returns its MLflow id."""
        if "pipeline" not in self._known:
            self._known["pipeline"] = self._find_or_create_pipeline_run()
        return self._known["pipeline"]

    def _find_or_create_pipeline_run(self) -> str:
        runs = self._search(f"tags.`{BRANCH_TAG}` = 'pipeline'")
        if runs:
            return runs[0]
        started = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
        created = self._create(f"pipeline {started}", {BRANCH_TAG: "pipeline"})
        # Of several that trainers created at the same time, all go on with the first.
        first = self._search(f"tags.`{BRANCH_TAG}` = 'pipeline'")[0]
        if first != created:
            self.client.delete_run(created)
        return first

    def artifact_page(self, path: str) -> str:
        """The part of an address, behind MLflow's own, that shows a file of the pipeline's run."""
        return f"#/experiments/{self._experiment}/runs/{self.pipeline_run()}/artifacts/{path}"

    def find_branch(self, model: str) -> str | None:
        """Finds a branch's run; returns its MLflow id, or None."""
        runs = self._search(f"tags.`{BRANCH_TAG}` = '{model}'")
        return runs[0] if runs else None

    def branch_run(self, model: str) -> str:
        """Finds or creates a branch's run, below the pipeline's; returns its MLflow id."""
        if model not in self._known:
            tags = {BRANCH_TAG: model, "mlflow.parentRunId": self.pipeline_run()}
            self._known[model] = self.find_branch(model) or self._create(model, tags)
        return self._known[model]

    def below(self, parent: str) -> dict[str, Any]:
        """Lists the runs below one, by name."""
        runs = self.client.search_runs(
            [self._experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000
        )
        return {run.info.run_name: run for run in runs}

    def create_below(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Creates a run below one; returns its MLflow id."""
        return self._create(name, {"mlflow.parentRunId": parent, **tags})

    def end(self, status: str) -> None:
        """Gives every run that still seems to go on a status, as "FAILED" or "KILLED"."""
        for run_id in self._search("attributes.status = 'RUNNING'"):
            self.client.set_terminated(run_id, status=status)

    def still_running(self, tags: Mapping[str, str]) -> set[str]:
        """Lists the pipeline's runs with these tags that still seem to go on, by their ids."""
        conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        runs = self.client.search_runs(
            [self._experiment], " and ".join(["attributes.status = 'RUNNING'", *conditions])
        )
        return {run.data.tags[RUN_ID_TAG] for run in runs}

    def log_params(self, run: str, values: Mapping[str, Any]) -> None:
        """Logs parameters; those that are there with the same value stay."""
        from mlflow.entities import Param

        params = [Param(key, str(value)[:_LONGEST_VALUE]) for key, value in values.items()]
        for start in range(0, len(params), 100):
            self.client.log_batch(run, params=params[start : start + 100])

    def log_tags(self, run: str, values: Mapping[str, Any]) -> None:
        """Sets tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(run, tags=[RunTag(key, str(value)) for key, value in values.items()])

    def log_metrics(self, run: str, values: Mapping[str, float]) -> None:
        """Logs final figures, except those that the run has already."""
        from mlflow.entities import Metric

        present = self.client.get_run(run).data.metrics
        now = int(time.time() * 1000)
        self._log(
            run,
            [
                Metric(name, value, timestamp=now, step=0)
                for name, value in values.items()
                if name not in present
            ],
        )

    def log_curves(self, run: str, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Logs values by step."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, timestamp=0, step=step)
            for name, values in curves.items()
            for step, value in values.items()
        ]
        self._log(run, metrics)

    def _log(self, run: str, metrics: "Sequence[Metric]") -> None:
        for start in range(0, len(metrics), _MOST_METRICS):
            self.client.log_batch(run, metrics=metrics[start : start + _MOST_METRICS])

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        run = self.client.create_run(
            self._experiment, run_name=name, tags={RUN_ID_TAG: self.run_id, **tags}
        )
        return str(run.info.run_id)

    def _search(self, condition: str) -> list[str]:
        """Ids of the MLflow runs of this run of the pipeline, the first created first."""
        runs = self.client.search_runs(
            [self._experiment],
            f"tags.`{RUN_ID_TAG}` = '{self.run_id}' and {condition}",
            order_by=["attributes.start_time", "attributes.run_id"],
        )
        return [run.info.run_id for run in runs]

    def _find_experiment(self, uri: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        artifacts = None
        if uri.startswith("sqlite:///"):
            # Beside the database, wherever the process that comes first was started.
            database = Path(uri.removeprefix("sqlite:///"))
            artifacts = (database.parent / ARTIFACT_FOLDER).resolve().as_uri()
        try:
            return str(self.client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # another process was faster
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)
