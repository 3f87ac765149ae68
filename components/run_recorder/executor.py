"""RunRecorder's executor: publishes the report, and has the run and its models recorded."""

import json
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.common import published_report, runtime, tracking
from components.run_recorder import registry, verdict
from components.run_recorder.outcome import Outcome
from components.run_recorder.record import Branch, record

RECORD_FILE = "record.json"
_REPORT_ARTIFACTS = "report"


class Executor(base_executor.BaseExecutor):
    """Shell around `published_report.publish`, `record.record` and `registry.register`."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Records. A store that is down is a warning: the run ends as its gate said.

        Args:
          input_dict: For each model `model_<name>`, `model_run_<name>` and `evaluation_<name>`, for
            searched ones `tuner_results_<name>`; `selection` and `pushed_model`; where there are
            a gate and a report, `judgement` and `report`.
          output_dict: `record`, a `Report` with `record.json`.
          exec_properties: `run` (JSON: `models`, `genres`, `parameters`, `tags`), `experiment`,
            `tracking_uri`, `data_fingerprint`, `run_id`, `registered_model` and
            `report_folder`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        run_id = exec_properties["run_id"]
        outcome = _outcome(input_dict)
        unpublished = _publish(input_dict, exec_properties["report_folder"], outcome)
        missing, problem = _track(input_dict, exec_properties, outcome)
        if problem:
            logging.warning("MLflow has no complete record of the run %s: %s", run_id, problem)
        artifact = artifact_utils.get_single_instance(output_dict["record"])
        artifact.set_string_custom_property("missing", "\n".join(missing))
        artifact.set_string_custom_property("error", problem)
        artifact.set_string_custom_property("unpublished", unpublished)
        artifact.set_string_custom_property("outcome", outcome.sentence())
        content = {
            "run_id": run_id,
            "outcome": outcome.sentence(),
            "missing": missing,
            "error": problem,
            "unpublished": unpublished,
        }
        io_utils.write_string_file(f"{artifact.uri}/{RECORD_FILE}", json.dumps(content, indent=2))


def _publish(input_dict: dict[str, list[Artifact]], folder: str, outcome: Outcome) -> str:
    """Publishes the report; says why if that was not possible, else ""."""
    if not folder or not input_dict.get("report"):
        return ""
    report = artifact_utils.get_single_uri(input_dict["report"])
    try:
        published_report.publish(report, folder, outcome.sentence())
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        logging.warning("The release report is not published in %s: %s", folder, reason)
        return f"the release report is not in {folder} ({reason}); it is in {report}"
    return ""


def _track(
    input_dict: dict[str, list[Artifact]], exec_properties: dict[str, Any], outcome: Outcome
) -> tuple[list[str], str]:
    """Writes to MLflow's store.

    Returns:
      What is missing there, a line each, and why it is not complete ("" where it is).
    """
    uri = exec_properties["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return [], "no store is named: neither tracking_uri nor MLFLOW_TRACKING_URI is set"
    steps = _steps(input_dict, exec_properties, outcome)
    missing: list[str] = []
    done = 0
    try:
        runs = tracking.PipelineRuns(
            uri, experiment=exec_properties["experiment"], run_id=exec_properties["run_id"]
        )
        for _, step in steps:
            missing += step(runs)
            done += 1
    except tracking.store_errors() as error:
        missing += [name for name, _ in steps[done:]]
        return missing, str(error).partition("\n")[0]
    return missing, ""


def _steps(
    input_dict: dict[str, list[Artifact]], exec_properties: dict[str, Any], outcome: Outcome
) -> list[tuple[str, Callable[[tracking.PipelineRuns], list[str]]]]:
    """What is written to the store, by name; each step returns what was not tracked live."""
    run = json.loads(exec_properties["run"])
    name = exec_properties["registered_model"]

    def record_runs(runs: tracking.PipelineRuns) -> list[str]:
        return record(
            runs,
            [_branch(model, input_dict, runs.run_id) for model in run["models"]],
            outcome,
            genres=tuple(run["genres"]),
            parameters={
                **run["parameters"],
                "data_fingerprint": exec_properties["data_fingerprint"],
            },
            tags=run["tags"],
        )

    def keep_report(runs: tracking.PipelineRuns) -> list[str]:
        report = artifact_utils.get_single_uri(input_dict["report"])
        for file, text in published_report.contents(report, outcome.sentence()).items():
            runs.client.log_text(runs.pipeline_run(), text, f"{_REPORT_ARTIFACTS}/{file}")
        return []

    def record_verdicts(runs: tracking.PipelineRuns) -> list[str]:
        verdict.record(runs, _judgement(input_dict))
        return []

    def register(runs: tracking.PipelineRuns) -> list[str]:
        judgement = _judgement(input_dict)
        sources = {
            model: artifact_utils.get_single_uri(input_dict[f"model_{model}"])
            for model in judgement["models"]
        }
        parameters = run["parameters"]
        registry.register(
            runs,
            name,
            registry.from_judgement(judgement, sources),
            outcome,
            production=(judgement.get("production") or {}).get("checksum") or "",
            tags={key: parameters[key] for key in ("data", "data_synthetic") if key in parameters},
        )
        return []

    steps: list[tuple[str, Callable[[tracking.PipelineRuns], list[str]]]] = [
        ("the runs of the pipeline and its branches", record_runs)
    ]
    if input_dict.get("report"):
        steps.append(("the release report", keep_report))
    if input_dict.get("judgement"):
        steps.append(("the gate's verdicts", record_verdicts))
    if name and input_dict.get("judgement"):
        steps.append((f"versions of the registered model {name} and its aliases", register))
    return steps


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


def _judgement(input_dict: dict[str, list[Artifact]]) -> dict[str, Any]:
    folder = artifact_utils.get_single_uri(input_dict["judgement"])
    judgement: dict[str, Any] = json.loads(io_utils.read_string_file(f"{folder}/report.json"))
    return judgement


def _outcome(input_dict: dict[str, list[Artifact]]) -> Outcome:
    folder = artifact_utils.get_single_uri(input_dict["selection"])
    selection = json.loads(io_utils.read_string_file(f"{folder}/selection.json"))
    pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
    production: Any = None
    if input_dict.get("judgement"):
        production = (_judgement(input_dict).get("production") or {}).get("version")
    return Outcome(
        chosen=selection["chosen"] or "none",
        pushed_to=pushed.get_string_custom_property("pushed_destination") or "none",
        version=pushed.get_string_custom_property("pushed_version"),
        written=bool(pushed.get_int_custom_property("written")),
        reason=pushed.get_string_custom_property("reason"),
        production="" if production is None else str(production),
    )
