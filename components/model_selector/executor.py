"""Reads every branch's evaluation, picks the best blessed model and hands it on."""

import dataclasses
import json
from typing import Any

from tfx.components.evaluator import constants as evaluator_constants
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.evaluator_figures import figures, missed_thresholds
from components.model_selector.selection import Candidate, best

SELECTION_FILE = "selection.json"


class Executor(base_executor.BaseExecutor):
    """Shell around `selection.best`."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Selects.

        Args:
          input_dict: For each model `model_<name>`, `evaluation_<name>` and `blessing_<name>`.
          output_dict: `model` (a copy of the chosen one's, empty without one), `blessing` and
            `selection` (a `Report` with `selection.json`).
          exec_properties: `models`, a JSON list of names.
        """
        names = json.loads(exec_properties["models"])
        candidates = [_candidate(name, input_dict) for name in names]
        chosen = best(candidates)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        selection = artifact_utils.get_single_uri(output_dict["selection"])
        _write_blessing(blessing, chosen)
        if chosen:
            io_utils.copy_dir(
                artifact_utils.get_single_uri(input_dict[f"model_{chosen.model}"]),
                artifact_utils.get_single_uri(output_dict["model"]),
            )
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


def _candidate(name: str, input_dict: dict[str, list[Artifact]]) -> Candidate:
    evaluation = artifact_utils.get_single_uri(input_dict[f"evaluation_{name}"])
    blessing = artifact_utils.get_single_instance(input_dict[f"blessing_{name}"])
    overall = figures(evaluation)
    return Candidate(
        model=name,
        tracks=int(overall["example_count"]),
        accuracy=overall["sparse_categorical_accuracy"],
        macro_f1=overall["macro_f1"],
        blessed=model_utils.is_model_blessed(blessing),
        reasons=missed_thresholds(evaluation),
    )


def _write_blessing(blessing: Artifact, chosen: Candidate | None) -> None:
    """Marks the artifact as TFX's Pusher expects it."""
    name = (
        evaluator_constants.BLESSED_FILE_NAME
        if chosen
        else evaluator_constants.NOT_BLESSED_FILE_NAME
    )
    fileio.makedirs(blessing.uri)
    # Object stores drop empty files, so it says who.
    io_utils.write_string_file(f"{blessing.uri}/{name}", chosen.model if chosen else "none")
    blessing.set_int_custom_property(
        evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        evaluator_constants.BLESSED_VALUE if chosen else evaluator_constants.NOT_BLESSED_VALUE,
    )
