"""ServingCheck's executor: serves the candidate and leaves a blessing and a report."""

import json
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.common import answers as track_answers
from components.common import runtime
from components.common.answers import AnswersError
from components.serving_check.checks import Findings, check_candidate
from components.serving_check.settings import ServingCheckSettings
from components.serving_check.tracks import read_tracks

REPORT_FILE = "serving_check.json"
# As TFX's InfraValidator leaves them.
_BLESSED_FILE, _NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


class Executor(base_executor.BaseExecutor):
    """Serves the candidate, asks it, and blesses it if every check passed."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks the candidate. One that cannot be served is not blessed; it raises nothing.

        Args:
          input_dict: `model`, `examples` (raw) and `answers` (Predictions' of the same model).
          output_dict: `blessing` and `report`, whose folder holds `serving_check.json`.
          exec_properties: `settings`, JSON of a `ServingCheckSettings`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        settings = ServingCheckSettings.from_json(exec_properties["settings"])
        checked = _check(input_dict, settings)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        report = artifact_utils.get_single_instance(output_dict["report"])
        text = json.dumps(checked, indent=2, allow_nan=False)
        io_utils.write_string_file(f"{report.uri}/{REPORT_FILE}", text)
        name = _BLESSED_FILE if checked["passed"] else _NOT_BLESSED_FILE
        io_utils.write_string_file(f"{blessing.uri}/{name}", "\n")  # s3:// has no empty files
        blessing.set_int_custom_property("blessed", int(checked["passed"]))
        report.set_int_custom_property("passed", int(checked["passed"]))


def _check(input_dict: dict[str, list[Artifact]], settings: ServingCheckSettings) -> dict[str, Any]:
    model = artifact_utils.get_single_instance(input_dict["model"])
    try:
        answers = track_answers.read(
            artifact_utils.get_single_uri(input_dict["answers"]), track_answers.CLEAN
        )
    except AnswersError as error:
        findings = Findings()
        findings.add("evaluated answers", False, str(error))
        return findings.report()
    answered = {
        track_id
        for track_id, is_answered in zip(answers.track_ids, answers.answered, strict=True)
        if is_answered
    }
    examples = artifact_utils.get_single_instance(input_dict["examples"])
    tracks = read_tracks(examples, settings.tracks, among=answered)
    return check_candidate(path_utils.serving_model_path(model.uri), tracks, answers, settings)
