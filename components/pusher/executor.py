"""Pusher's executor: pushes the chosen model with `ReleaseStore.push`."""

import json
from typing import Any

from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.common import files, runtime
from components.common.releases import JudgedAgainst, ReleaseStore

SPLITS = ("train", "validation", "test")
EVIDENCE = ("model_card.md", "report.json", "index.html")
TRAINING_TRACKS = "training_tracks"  # ingest writes the list in one file or more
TRAINING_STATISTICS = "training_statistics.pb"
_STATISTICS_FILE = "Split-train/FeatureStats.pb"  # as StatisticsGen names it


class Executor(base_executor.BaseExecutor):
    """Pushes the model if it is blessed."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model, unless production is no longer the one that it was judged against.

        Inputs and parameters are those of `component.Pusher`; the folder of `pushed_model` holds
        `push.json`, the outcome.

        Raises:
          UserError: The serving folder cannot be written to.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        blessing = artifact_utils.get_single_instance(input_dict["model_blessing"])
        outcome: dict[str, Any] = {"pushed": 0, "written": 0}
        if model_utils.is_model_blessed(blessing):
            model = artifact_utils.get_single_instance(input_dict["model"])
            done = ReleaseStore(exec_properties["base_directory"]).push(
                path_utils.serving_model_path(model.uri),
                release={
                    **json.loads(exec_properties["release"]),
                    **_figures(input_dict),
                    "run_id": exec_properties["run_id"],
                },
                evidence=_evidence(input_dict),
                judged_against=_judged_against(input_dict),
            )
            if done.refusal:
                outcome |= {"reason": done.refusal}
            else:
                outcome |= {
                    "pushed": 1,
                    "written": int(done.written),
                    "pushed_destination": done.path,
                    "pushed_version": str(done.version),
                }
        for name, value in outcome.items():
            if isinstance(value, int):
                pushed_model.set_int_custom_property(name, value)
            else:
                pushed_model.set_string_custom_property(name, value)
        io_utils.write_string_file(f"{pushed_model.uri}/push.json", json.dumps(outcome, indent=2))


def _evidence(input_dict: dict[str, list[Artifact]]) -> dict[str, str]:
    """Where the version's evidence is, by its path in the version."""
    ingest, statistics, report = (
        artifact_utils.get_single_uri(input_dict[name])
        for name in ("ingest_report", "statistics", "report")
    )
    tracks = [name for name in files.names(ingest) if name.startswith(TRAINING_TRACKS)]
    sources = {
        **{name: f"{ingest}/{name}" for name in tracks},
        TRAINING_STATISTICS: f"{statistics}/{_STATISTICS_FILE}",
        **{name: f"{report}/{name}" for name in EVIDENCE},
    }
    return {f"assets.extra/{name}": source for name, source in sources.items()}


def _judged_against(input_dict: dict[str, list[Artifact]]) -> JudgedAgainst:
    """What the release report says was in production."""
    report_uri = artifact_utils.get_single_uri(input_dict["report"])
    production = json.loads(io_utils.read_string_file(f"{report_uri}/report.json"))["production"]
    return JudgedAgainst(production["version"], production["checksum"])


def _figures(input_dict: dict[str, list[Artifact]]) -> dict[str, Any]:
    """The model's name and figures, and the number of tracks in each split."""
    selection_uri = artifact_utils.get_single_uri(input_dict["selection"])
    selection = json.loads(io_utils.read_string_file(f"{selection_uri}/selection.json"))
    (chosen,) = (
        candidate
        for candidate in selection["candidates"]
        if candidate["model"] == selection["chosen"]
    )
    report = artifact_utils.get_single_instance(input_dict["ingest_report"])
    return {
        "model": chosen["model"],
        "tracks": {split: report.get_int_custom_property(split) for split in SPLITS},
        "test_accuracy": chosen["accuracy"],
        "test_macro_f1": chosen["macro_f1"],
    }
