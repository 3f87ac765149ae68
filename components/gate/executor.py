"""Gate's executor: reads what is known of every model and of production, and judges."""

import dataclasses
import functools
import json
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.common import answers, blessings, runtime
from components.gate import candidate, comparison, judge, report, settings

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

        Inputs, outputs and parameters are those of `component.Gate`: each model's artifacts by
        names such as `answers_<name>`, a blessing for each, and the judgement.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        gate = settings.from_dict(json.loads(exec_properties["settings"]))
        release = json.loads(exec_properties["release"])
        genres = tuple(release["genres"])
        ingest_report = artifact_utils.get_single_instance(input_dict["ingest_report"])
        tracks = {
            split: int(ingest_report.get_int_custom_property(split) or 0) for split in _SPLITS
        }
        baseline_uri = artifact_utils.get_single_uri(input_dict["baseline_answers"])
        problems: dict[str, str] = {}
        baseline, baseline_validation = (
            candidate.readable(functools.partial(answers.read, baseline_uri, name), problems, name)
            for name in (answers.CLEAN, answers.VALIDATION)
        )
        models = [
            candidate.read(
                name,
                input_dict,
                baseline=baseline,
                baseline_problem=problems.get(answers.CLEAN, ""),
                expected_tracks=tracks["test"],
                genres=genres,
            )
            for name in json.loads(exec_properties["models"])
        ]
        production = comparison.reference(
            exec_properties["base_directory"],
            models,
            examples=artifact_utils.get_single_uri(input_dict["examples"]),
            genres=genres,
        )
        waived = bool(exec_properties["replace_incompatible"])
        judged = []
        for model in models:
            against = comparison.against(model, production, genres=genres, waived=waived)
            evidence = dataclasses.replace(model, against=against)
            judged.append((evidence, judge.judge(evidence, gate)))
        content = report.judgement(
            judged,
            gate=gate,
            run_id=exec_properties["run_id"],
            release=release,
            genres=genres,
            tracks=tracks,
            baseline=baseline,
            baseline_validation=baseline_validation,
            production=production,
            leakage=_leakage(ingest_report.uri),
        )
        for evidence, rows in judged:
            blessings.write(
                artifact_utils.get_single_instance(output_dict[f"blessing_{evidence.name}"]),
                blessed=judge.is_blessed(rows),
                model=evidence.name,
            )
        io_utils.write_string_file(
            f"{artifact_utils.get_single_uri(output_dict['judgement'])}/{REPORT_FILE}",
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False),
        )


def _leakage(ingest_report: str) -> dict[str, Any]:
    """The near-duplicates across splits that ingest found."""
    content = json.loads(io_utils.read_string_file(f"{ingest_report}/{REPORT_FILE}"))
    across = [pair for pair in content["near_duplicates"] if pair["across_splits"]]
    return {"pairs": content["pairs"], "across_splits": content["leaks"], "near_duplicates": across}
