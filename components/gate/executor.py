"""Gate's executor: reads what is known of every model and of production, and judges."""

import json
from collections.abc import Mapping
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.common import answers, blessings, runtime
from components.common.answers import TrackAnswers
from components.gate import candidate as candidates
from components.gate import comparison, judge, report, settings
from components.gate.report import Judged

REPORT_FILE = "report.json"
_SPLITS = ("train", "validation", "test")


class Executor(base_executor.BaseExecutor):
    """Shell around `judge.judge`."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges every model. A model that is bad is refused, which is no error.

        Args:
          input_dict: For each model `model_<name>`, `model_run_<name>`, `evaluation_<name>`,
            `answers_<name>`, `serving_check_<name>` and `infra_blessing_<name>`, and where TFX's
            InfraValidator ran `infra_validation_<name>`; `baseline_answers`,
            `ingest_report` and `examples` (raw, to ask production).
          output_dict: `blessing_<name>` for each model, and `judgement`, a `Report` with
            `report.json`.
          exec_properties: `models` (a JSON list of names), `settings` (JSON of `GateSettings`),
            `release` (JSON, with the genres), `base_directory` (the serving folder),
            `replace_incompatible` and `run_id`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        gate = settings.from_dict(json.loads(exec_properties["settings"]))
        release = json.loads(exec_properties["release"])
        genres = tuple(release["genres"])
        tracks = _tracks(artifact_utils.get_single_instance(input_dict["ingest_report"]))
        baseline_problems: dict[str, str] = {}
        baseline, baseline_validation = (
            _baseline_answers(input_dict, name, baseline_problems)
            for name in (answers.CLEAN, answers.VALIDATION)
        )
        models = [
            candidates.read(name, input_dict) for name in json.loads(exec_properties["models"])
        ]
        base = comparison.reference(
            exec_properties["base_directory"],
            models,
            examples=artifact_utils.get_single_uri(input_dict["examples"]),
            genres=genres,
        )
        waived = bool(exec_properties["replace_incompatible"])
        judged = []
        for model in models:
            evidence = candidates.evidence(
                model,
                baseline=baseline,
                baseline_problem=baseline_problems.get(answers.CLEAN, ""),
                against=comparison.against(model, base, genres=genres, waived=waived),
                expected_tracks=tracks["test"],
                genres=genres,
            )
            rows = judge.judge(evidence, gate)
            judged.append(Judged(model, evidence, rows, gate.min_tracks))
        content = report.judgement(
            judged,
            gate=gate,
            run_id=exec_properties["run_id"],
            release=release,
            genres=genres,
            tracks=tracks,
            baseline=baseline,
            baseline_validation=baseline_validation,
            base=base,
            leakage=_leakage(artifact_utils.get_single_uri(input_dict["ingest_report"])),
        )
        for each in judged:
            name = each.candidate.name
            blessing = artifact_utils.get_single_instance(output_dict[f"blessing_{name}"])
            blessings.write(blessing, blessed=each.blessed, model=name)
        io_utils.write_string_file(
            f"{artifact_utils.get_single_uri(output_dict['judgement'])}/{REPORT_FILE}",
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False),
        )


def _tracks(report_artifact: Artifact) -> dict[str, int]:
    return {split: int(report_artifact.get_int_custom_property(split) or 0) for split in _SPLITS}


def _baseline_answers(
    input_dict: Mapping[str, list[Artifact]], name: str, problems: dict[str, str]
) -> TrackAnswers | None:
    uri = artifact_utils.get_single_uri(input_dict["baseline_answers"])
    return candidates.readable(lambda: answers.read(uri, name), problems, name)


def _leakage(ingest_report: str) -> dict[str, Any]:
    """The near-duplicates across splits that ingest found; {} if it does not say."""
    path = f"{ingest_report}/{REPORT_FILE}"
    if not fileio.exists(path):
        return {}
    try:
        with fileio.open(path, "rb") as file:
            content = json.loads(file.read())
        named = content["near_duplicates"]  # of many pairs the first, those across splits first
        across = [pair for pair in named if pair["across_splits"]]
    except (ValueError, LookupError, TypeError):
        logging.warning("%s says nothing of near-duplicates", path)
        return {}
    return {
        "pairs": content.get("pairs", len(named)),
        "across_splits": content.get("leaks", len(across)),
        "near_duplicates": across,
    }
