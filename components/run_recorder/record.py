"""What MLflow says of a run: read from the artifacts, so that cached branches are recorded too."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.common import calibration, evaluator_figures, metrics, remarks
from components.common.node_ids import node_id
from components.common.settings_errors import flat
from components.common.tracking import PipelineRuns
from components.run_recorder.outcome import Outcome

_SCORE = "best_val_track_accuracy"
_UNKNOWN = "unknown"  # a runner that tells executors no run id


@dataclasses.dataclass(frozen=True)
class Branch:
    """A branch's artifacts.

    Attributes:
      model: Its name.
      cached: Whether an earlier run trained it; None where that is not known.
      model_uri: Of its release.
      model_run_uri: Of its training.
      evaluation_uri: Of TFMA's figures.
      tuner_results_uri: Of its search, or "".
      search_cached: As `cached`, of its search.
    """

    model: str
    cached: bool | None
    model_uri: str
    model_run_uri: str
    evaluation_uri: str
    tuner_results_uri: str = ""
    search_cached: bool | None = None


def record(
    runs: PipelineRuns,
    branches: Sequence[Branch],
    outcome: Outcome,
    *,
    genres: tuple[str, ...],
    parameters: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> list[str]:
    """Writes or completes the pipeline's run and that of every branch, and ends them.

    Args:
      runs: Of this run of the pipeline.
      branches: In the order of training.
      outcome: What the run came to.
      genres: Names in label order.
      parameters: MLflow parameters of every run.
      tags: MLflow tags of every branch.

    Returns:
      What was not tracked while it happened, a line each; also in the tag `tracking.missing`.
    """
    parent = runs.pipeline_run()
    names = ",".join(branch.model for branch in branches)
    runs.log_params(parent, {**parameters, "models": names})
    missing: list[str] = []
    for branch in branches:
        missing += _record_branch(runs, branch, genres=genres, parameters=parameters, tags=tags)
    if outcome.chosen != "none":
        # So that two runs of the pipeline compare by what they came to.
        figures = runs.client.get_run(runs.branch_run(outcome.chosen)).data.metrics
        runs.log_metrics(
            parent, {name: figures[name] for name in figures if name.startswith("test_track_")}
        )
    result = {
        "chosen": outcome.chosen,
        "pushed_to": outcome.pushed_to,
        "outcome": outcome.sentence(),
    }
    _end(runs, parent, result, missing)
    return missing


def _record_branch(
    runs: PipelineRuns,
    branch: Branch,
    *,
    genres: tuple[str, ...],
    parameters: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> list[str]:
    run = runs.branch_run(branch.model)
    runs.log_params(run, {"model": branch.model, **parameters, **_training_settings(branch)})
    facts = {
        "mlflow.parentRunId": runs.pipeline_run(),
        "tfx.node": node_id("Trainer", branch.model),
        "cached": _UNKNOWN if branch.cached is None else branch.cached,
        "tfx.model": branch.model_uri,
        "tfx.model_run": branch.model_run_uri,
        "tfx.evaluation": branch.evaluation_uri,
        **tags,
    }
    if sentences := remarks.read(branch.model_run_uri):
        facts["remarks"] = "; ".join(sentences)
    missing = _record_search(runs, run, branch) if branch.tuner_results_uri else []
    missing += _record_training(runs, run, branch)
    _record_calibration(runs, run, branch)
    _record_judgement(runs, run, branch, genres)
    _end(runs, run, facts, missing)
    return missing


def _end(runs: PipelineRuns, run: str, tags: Mapping[str, Any], missing: Sequence[str]) -> None:
    late = {"tracking.missing": "; ".join(missing)} if missing else {}
    runs.log_tags(run, {**tags, **late})
    runs.client.set_terminated(run)


def _record_search(runs: PipelineRuns, run: str, branch: Branch) -> list[str]:
    """Adds the trials that were not tracked live: all of a search that came from the cache."""
    text = io_utils.read_string_file(f"{branch.tuner_results_uri}/tuner_results.json")
    trials = sorted(json.loads(text), key=lambda trial: trial["trial_id"])
    runs.log_tags(
        run,
        {
            "tuner.trials": len(trials),
            "tuner.results": branch.tuner_results_uri,
            "tuner.cached": _UNKNOWN if branch.search_cached is None else branch.search_cached,
        },
    )
    tracked = runs.below(run)
    missing = []
    for trial in trials:
        number, score = int(trial.pop("trial_id")) + 1, trial.pop("score")
        name = f"{branch.model}-trial-{number}"
        if name in tracked and _SCORE in tracked[name].data.metrics:
            continue
        if branch.search_cached is False:
            missing.append(f"{name}: its epochs, as the store did not take them")
        if name in tracked:
            child = tracked[name].info.run_id
        else:
            cached = {} if branch.search_cached is False else {"cached": "True"}
            child = runs.create_below(run, name, cached)
        runs.log_params(child, trial)
        runs.log_metrics(child, {_SCORE: score})
        runs.client.set_terminated(child)
    return missing


def _record_training(runs: PipelineRuns, run: str, branch: Branch) -> list[str]:
    """Adds the epochs that were not tracked live, and the best epoch's figures."""
    history_file = f"{branch.model_run_uri}/history.json"
    if not fileio.exists(history_file):
        return []  # an ensemble is put together, not trained
    history = json.loads(io_utils.read_string_file(history_file))
    epochs, best = history["epochs"], history["best_epoch"]
    untracked = {}
    for name, values in epochs.items():
        tracked = {point.step for point in runs.client.get_metric_history(run, name)}
        steps = enumerate(values, start=1)
        untracked[name] = {step: value for step, value in steps if step not in tracked}
    runs.log_curves(run, untracked)
    finals = {
        f"best_{name}": values[best]
        for name, values in epochs.items()
        if name.startswith("val_") and best < len(values)
    }
    runs.log_metrics(run, {"training_seconds": history["seconds"], **finals})
    late = max(map(len, untracked.values()), default=0)
    if branch.cached is False and late:
        count = max(map(len, epochs.values()))
        return [f"{branch.model}: the times of {late} of {count} epochs, which were added later"]
    return []


def _record_calibration(runs: PipelineRuns, run: str, branch: Branch) -> None:
    """Adds the temperature, and how good the validation answers were before it and are after."""
    fitted = calibration.read(branch.model_run_uri)
    if fitted is None:
        return
    figures = {
        f"validation_track_{name}_{when}": value
        for when, both in (("before", fitted.before), ("after", fitted.after))
        for name, value in dataclasses.asdict(both).items()
        if value == value  # not NaN
    }
    runs.log_metrics(run, {"temperature": fitted.temperature, **figures})


def _record_judgement(
    runs: PipelineRuns, run: str, branch: Branch, genres: tuple[str, ...]
) -> None:
    """Adds the test split's figures with their intervals, and the confusion matrix."""
    evaluation = branch.evaluation_uri
    counts = evaluator_figures.confusion_matrix(evaluation, len(genres))
    figures = evaluator_figures.figures(evaluation) | {"macro_f1": metrics.macro_f1(counts)}
    precision, recall, _ = metrics.precision_recall_f1(counts)
    for name, values in (("precision", precision), ("recall", recall)):
        figures |= {
            f"{name}_{_metric_name(genre)}": float(value)
            for genre, value in zip(genres, values, strict=True)
            if value == value  # not NaN: the genre was predicted, or occurs
        }
    for name, interval in (
        ("accuracy", metrics.share_interval(int(np.trace(counts)), int(counts.sum()))),
        ("macro_f1", metrics.macro_f1_interval(counts)),
    ):
        figures |= dict(zip((f"{name}_low", f"{name}_high"), interval or (), strict=False))
    runs.log_metrics(run, {f"test_track_{name}": value for name, value in figures.items()})
    runs.client.log_figure(run, _confusions(counts, genres), "confusion_matrix.png")


def _confusions(counts: np.ndarray, genres: Sequence[str]) -> Figure:
    figure = Figure(figsize=(6.5, 5.8), layout="constrained")
    ConfusionMatrixDisplay(counts, display_labels=genres).plot(
        ax=figure.subplots(), cmap="Blues", colorbar=False, xticks_rotation="vertical"
    )
    return figure


def _training_settings(branch: Branch) -> dict[str, Any]:
    """What the network was trained with, after a search too; an ensemble has none."""
    file = f"{branch.model_run_uri}/network.json"
    if not fileio.exists(file):
        return {}
    return flat({"training": json.loads(io_utils.read_string_file(file))["training"]})


def _metric_name(genre: str) -> str:
    """A genre's name with characters that MLflow takes in names of metrics, which are paths."""
    return re.sub(r"[^\w\- ]", "_", genre)
