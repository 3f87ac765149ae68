"""MLflow: one run for the pipeline's run, one below it for every branch."""

import datetime
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag
from tfx.utils import io_utils

from components import evaluator_figures
from components.gtzan.genres import GENRES
from components.trainer import model_run
from components.trainer.live_metrics import child_run
from pipeline import fingerprint, pictures
from pipeline.config import DataConfig, PipelineConfig
from pipeline.stages import StageResult
from pipeline.tracking_store import tracking_uri

ARTIFACT_FOLDER = "mlruns"
_LONGEST_VALUE = 500


class Tracker:
    """Tracks one run of the pipeline.

    Stages that come from the cache are tracked like executed ones, from their artifacts, so that
    every pipeline run is whole in MLflow; the tag `cached` says so.
    """

    def __init__(self, config: PipelineConfig, *, data_fingerprint: str) -> None:
        """Opens the store and starts the pipeline's run.

        Args:
          config: The run.
          data_fingerprint: Of the data set.
        """
        self._config = config
        self._uri = tracking_uri(config)
        mlflow.set_tracking_uri(self._uri)
        self._client = mlflow.MlflowClient()
        self._experiment = self._find_experiment()
        self._shared = {
            "data": config.data.folder,
            "data_synthetic": config.data.synthetic,
            "split": config.data.split,
            **_given(config.data, ("split_lists", "split_family", "artists")),
            "seed": config.seed,
            "data_fingerprint": data_fingerprint,
            "code_version": code_version(),
            **_flat(config.audio.__dict__, "audio"),
        }
        started = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
        parent = self._client.create_run(self._experiment, run_name=f"pipeline {started}")
        self._parent = parent.info.run_id
        self._branches: dict[str, str] = {}
        self._log_params(self._parent, {**self._shared, "models": ",".join(config.models)})

    def branch_started(self, model: str) -> None:
        """Starts a branch's run, unless it has one, and lets `LiveMetrics` write to it."""
        if model not in self._branches:
            self._branches[model] = self._open_branch(model)
        os.environ["MLFLOW_TRACKING_URI"] = self._uri
        os.environ["MLFLOW_RUN_ID"] = self._branches[model]

    def _open_branch(self, model: str) -> str:
        run = self._client.create_run(
            self._experiment, run_name=model, tags={"mlflow.parentRunId": self._parent}
        )
        training = {}
        if model in self._config.trained_models and not self._config.trials:
            training = _flat(self._config.training(model), "training")
        self._log_params(run.info.run_id, {"model": model, **self._shared, **training})
        return str(run.info.run_id)

    def branch_tuned(self, model: str, result: StageResult) -> None:
        """Tracks the trials of a search that came from the cache; others told of themselves."""
        folder = result.outputs["tuner_results"][0].uri
        trials = json.loads(io_utils.read_string_file(f"{folder}/tuner_results.json"))
        self._log_tags(
            self._branches[model],
            {"tuner.trials": len(trials), "tuner.results": folder, "tuner.cached": result.cached},
        )
        if not result.cached:
            trials = []
        for trial in sorted(trials, key=lambda trial: trial["trial_id"]):
            number, score = int(trial.pop("trial_id")) + 1, trial.pop("score")
            with child_run(f"{model}-trial-{number}", trial, tags={"cached": "True"}) as run:
                run.log({"best_val_track_accuracy": score})
        os.environ.pop("MLFLOW_RUN_ID", None)

    def branch_trained(self, model: str, result: StageResult) -> None:
        """Logs where the artifacts are, the best epoch's figures and the learning curve."""
        os.environ.pop("MLFLOW_RUN_ID", None)
        run_id = self._branches[model]
        self._log_tags(
            run_id,
            {
                "tfx.pipeline": self._config.name,
                "tfx.node": result.stage,
                "cached": result.cached,
                "tfx.metadata": str(self._config.local_folder / "metadata.db"),
                **{f"tfx.{key}": outputs[0].uri for key, outputs in result.outputs.items()},
            },
        )
        if "model_run" not in result.outputs:
            return  # the ensemble is put together, not trained
        folder = result.outputs["model_run"][0].uri
        if self._config.trials:
            found = model_run.training_settings(folder)
            self._log_params(run_id, _flat(found, "training"))
        history = json.loads(io_utils.read_string_file(f"{folder}/history.json"))
        epochs, best = history["epochs"], history["best_epoch"]
        if result.cached:
            self._log_history(run_id, epochs)
        self._client.log_metric(run_id, "training_seconds", history["seconds"])
        for name, values in epochs.items():
            if name.startswith("val_") and best < len(values):
                self._client.log_metric(run_id, f"best_{name}", values[best])
        figure = pictures.learning_curve(epochs, best_epoch=best, title=f"{model}: learning curve")
        self._client.log_figure(run_id, figure, "learning_curve.png")

    def branch_judged(self, model: str, result: StageResult) -> None:
        """Logs the test split's figures and confusion matrix, and ends the branch's run."""
        run_id = self._branches[model]
        evaluation = result.outputs["evaluation"][0].uri
        for name, value in evaluator_figures.figures(evaluation).items():
            self._client.log_metric(run_id, f"test_track_{name}", value)
        for row in evaluator_figures.by_genre(evaluation, GENRES):
            for name in ("precision", "recall"):
                value = getattr(row, name)
                if value == value:  # not NaN: the genre was predicted, or occurs
                    self._client.log_metric(run_id, f"test_track_{name}_{row.genre}", value)
        counts = evaluator_figures.confusion_matrix(evaluation, len(GENRES))
        figure = pictures.confusion_matrix(counts, GENRES, title=f"{model}: test tracks")
        self._client.log_figure(run_id, figure, "confusion_matrix.png")
        self._log_tags(run_id, {"tfx.evaluation": evaluation})
        self._client.set_terminated(run_id)

    def finished(self, *, chosen: str | None, pushed_to: str) -> None:
        """Ends the pipeline's run with its outcome."""
        self._log_tags(self._parent, {"chosen": chosen or "none", "pushed_to": pushed_to or "none"})
        self._client.set_terminated(self._parent)

    def failed(self) -> None:
        """Marks every run that has not ended as failed."""
        os.environ.pop("MLFLOW_RUN_ID", None)
        for run_id in (*self._branches.values(), self._parent):
            if self._client.get_run(run_id).info.status == "RUNNING":
                self._client.set_terminated(run_id, status="FAILED")

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._config.name)
        if found is not None:
            return found.experiment_id
        artifacts = None
        if self._uri.startswith("sqlite:"):
            artifacts = (self._config.local_folder / ARTIFACT_FOLDER).resolve().as_uri()
        return self._client.create_experiment(self._config.name, artifact_location=artifacts)

    def _log_params(self, run_id: str, values: dict[str, Any]) -> None:
        params = [Param(key, str(value)[:_LONGEST_VALUE]) for key, value in values.items()]
        self._client.log_batch(run_id, params=params)

    def _log_tags(self, run_id: str, values: dict[str, Any]) -> None:
        self._client.log_batch(
            run_id, tags=[RunTag(key, str(value)) for key, value in values.items()]
        )

    def _log_history(self, run_id: str, epochs: dict[str, list[float]]) -> None:
        metrics = [
            Metric(name, value, timestamp=0, step=step)
            for name, values in epochs.items()
            for step, value in enumerate(values, start=1)
        ]
        for start in range(0, len(metrics), 1000):  # the store's limit for one call
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])


def code_version() -> str:
    """The git commit, marked where files differ from it; without git a hash of the source."""
    root = Path(__file__).resolve().parent.parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return described.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return fingerprint.source_fingerprint(["components", "pipeline"])


def _given(data: DataConfig, names: Sequence[str]) -> dict[str, str]:
    """Those options that not every run has."""
    return {name: getattr(data, name) for name in names if getattr(data, name)}


def _flat(tree: Any, prefix: str) -> dict[str, Any]:
    """The leaves of a dataclass or dict, by dotted names."""
    fields = tree if isinstance(tree, dict) else vars(tree)
    leaves: dict[str, Any] = {}
    for name, value in fields.items():
        if hasattr(value, "__dataclass_fields__"):
            leaves |= _flat(value, f"{prefix}.{name}")
        else:
            leaves[f"{prefix}.{name}"] = value
    return leaves
