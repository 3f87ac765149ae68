"""ModelSelector's executor: reads the gate's judgement and copies the best blessed model."""

import dataclasses
import json
from typing import Any

from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.common import blessings, runtime
from components.model_selector.selection import Candidate, best, from_judgement

SELECTION_FILE = "selection.json"
JUDGEMENT_FILE = "report.json"


class Executor(base_executor.BaseExecutor):
    """Chooses a model with `selection.best` and writes the outputs."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Chooses the model.

        Args:
          input_dict: For each model `model_<name>` and `blessing_<name>`; `judgement`, Gate's
            report.
          output_dict: `model` (a copy of the chosen model; empty if none is chosen), `blessing` and
            `selection` (a `Report` with `selection.json`).
          exec_properties: `models`, a JSON list of names.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        judgement_uri = artifact_utils.get_single_uri(input_dict["judgement"])
        judgement = json.loads(io_utils.read_string_file(f"{judgement_uri}/{JUDGEMENT_FILE}"))
        candidates = [
            _candidate(name, judgement, input_dict)
            for name in json.loads(exec_properties["models"])
        ]
        chosen = best(candidates)
        blessings.write(
            artifact_utils.get_single_instance(output_dict["blessing"]),
            blessed=chosen is not None,
            model=chosen.model if chosen else "none",
        )
        if chosen:
            io_utils.copy_dir(
                artifact_utils.get_single_uri(input_dict[f"model_{chosen.model}"]),
                artifact_utils.get_single_uri(output_dict["model"]),
            )
        selection = artifact_utils.get_single_uri(output_dict["selection"])
        io_utils.write_string_file(
            f"{selection}/{SELECTION_FILE}",
            json.dumps(
                {
                    "chosen": chosen.model if chosen else None,
                    "candidates": [dataclasses.asdict(candidate) for candidate in candidates],
                },
                indent=2,
            ),
        )


def _candidate(
    name: str, judgement: dict[str, Any], input_dict: dict[str, list[Artifact]]
) -> Candidate:
    """A candidate; the blessing and the report have to agree that it may be released."""
    candidate = from_judgement(name, judgement["models"][name], tracks=judgement["tracks"]["test"])
    blessing = artifact_utils.get_single_instance(input_dict[f"blessing_{name}"])
    blessed = candidate.blessed and model_utils.is_model_blessed(blessing)
    return dataclasses.replace(candidate, blessed=blessed)
