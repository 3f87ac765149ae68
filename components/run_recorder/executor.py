"""RunRecorder's executor: publishes the report, and has the run and its models recorded."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.common import published_report, runtime, tracking
from components.common.tracking import PipelineRuns
from components.run_recorder import registry, verdict
from components.run_recorder.outcome import Outcome
from components.run_recorder.record import Branch, record

RECORD_FILE = "record.json"
_DATA = ("data", "data_synthetic")  # parameters that are tags of versions, too


class Executor(base_executor.BaseExecutor):
    """Shell around `published_report.publish`, `record.record` and `registry.register`."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Records. A store that is down is a warning: the run ends as its gate said.

        Inputs, outputs and parameters are those of `component.RunRecorder`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        run_id = exec_properties["run_id"]
        judgement = _json(input_dict, "judgement", "report.json")
        outcome = _outcome(input_dict, judgement)
        report = artifact_utils.get_single_uri(input_dict["report"])
        unpublished = _publish(report, exec_properties["report_folder"], outcome)
        steps = _steps(input_dict, exec_properties, judgement, outcome)
        missing, problem = _track(exec_properties, steps)
        if problem:
            logging.warning("MLflow has no complete record of the run %s: %s", run_id, problem)
        artifact = artifact_utils.get_single_instance(output_dict["record"])
        texts = {"outcome": outcome.sentence(), "error": problem, "unpublished": unpublished}
        for name, text in {**texts, "missing": "\n".join(missing)}.items():
            artifact.set_string_custom_property(name, text)
        content = {"run_id": run_id, **texts, "missing": missing}
        io_utils.write_string_file(f"{artifact.uri}/{RECORD_FILE}", json.dumps(content, indent=2))


def _publish(report: str, folder: str, outcome: Outcome) -> str:
    """Publishes the report; says why if that was not possible, else ""."""
    try:
        published_report.publish(report, folder, outcome.sentence())
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        logging.warning("The release report is not published in %s: %s", folder, reason)
        return f"the release report is not in {folder} ({reason}); it is in {report}"
    return ""


def _steps(
    input_dict: dict[str, list[Artifact]],
    exec_properties: Mapping[str, Any],
    judgement: Mapping[str, Any],
    outcome: Outcome,
) -> dict[str, Callable[[PipelineRuns], list[str] | None]]:
    """What is written to MLflow, by name; a step may return what was not tracked live."""
    run = json.loads(exec_properties["run"])
    name = exec_properties["registered_model"]
    fingerprint = {"data_fingerprint": exec_properties["data_fingerprint"]}
    data = {key: value for key, value in run["parameters"].items() if key in _DATA}

    def record_runs(runs: PipelineRuns) -> list[str]:
        return record(
            runs,
            [_branch(model, input_dict, runs.run_id) for model in run["models"]],
            outcome,
            genres=tuple(run["genres"]),
            parameters=run["parameters"] | fingerprint,
            tags=run["tags"],
        )

    def add_report(runs: PipelineRuns) -> None:
        report = artifact_utils.get_single_uri(input_dict["report"])
        for file, text in published_report.contents(report, outcome.sentence()).items():
            runs.client.log_text(runs.pipeline_run(), text, f"{registry.REPORT_ARTIFACTS}/{file}")

    def register(runs: PipelineRuns) -> None:
        sources = {
            model: artifact_utils.get_single_uri(input_dict[f"model_{model}"])
            for model in judgement["models"]
        }
        registry.register(runs, name, judgement, outcome, sources=sources, tags=data)

    return {
        "the runs of the pipeline and its branches": record_runs,
        "the release report": add_report,
        "the gate's verdicts": lambda runs: verdict.record(runs, judgement),
        f"versions of the registered model {name} and its alias": register,
    }


def _track(
    exec_properties: Mapping[str, Any],
    steps: Mapping[str, Callable[[PipelineRuns], list[str] | None]],
) -> tuple[list[str], str]:
    """Writes to MLflow's store.

    Returns:
      What is missing there, a line each, and why it is not complete ("" where it is).
    """
    uri = exec_properties["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return [], "no store is named: neither tracking_uri nor MLFLOW_TRACKING_URI is set"
    missing: list[str] = []
    left = dict(steps)
    try:
        runs = PipelineRuns(
            uri, experiment=exec_properties["experiment"], run_id=exec_properties["run_id"]
        )
        for name, step in steps.items():
            missing += step(runs) or []
            del left[name]
    except tracking.store_errors() as error:
        return [*missing, *left], str(error).partition("\n")[0]
    return missing, ""


def _branch(name: str, input_dict: dict[str, list[Artifact]], run_id: str) -> Branch:
    model_run = artifact_utils.get_single_instance(input_dict[f"model_run_{name}"])
    results = input_dict.get(f"tuner_results_{name}")
    return Branch(
        model=name,
        cached=tracking.is_cached(model_run, run_id),
        model_uri=artifact_utils.get_single_uri(input_dict[f"model_{name}"]),
        model_run_uri=model_run.uri,
        evaluation_uri=artifact_utils.get_single_uri(input_dict[f"evaluation_{name}"]),
        tuner_results_uri=results[0].uri if results else "",
        search_cached=tracking.is_cached(results[0], run_id) if results else None,
    )


def _outcome(input_dict: dict[str, list[Artifact]], judgement: Mapping[str, Any]) -> Outcome:
    pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
    production = judgement["production"].get("version")
    return Outcome(
        chosen=_json(input_dict, "selection", "selection.json")["chosen"] or "none",
        pushed_to=pushed.get_string_custom_property("pushed_destination") or "none",
        version=pushed.get_string_custom_property("pushed_version"),
        written=bool(pushed.get_int_custom_property("written")),
        reason=pushed.get_string_custom_property("reason"),
        production="" if production is None else str(production),
        kept=bool(pushed.get_int_custom_property("kept")),
    )


def _json(input_dict: dict[str, list[Artifact]], key: str, name: str) -> dict[str, Any]:
    folder = artifact_utils.get_single_uri(input_dict[key])
    content: dict[str, Any] = json.loads(io_utils.read_string_file(f"{folder}/{name}"))
    return content
