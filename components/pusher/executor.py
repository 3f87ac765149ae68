"""Pusher's executor: pushes the chosen model with `ReleaseStore.push`."""

import json
from typing import Any

from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.common import files, runtime
from components.common.releases import JudgedAgainst, ReleaseStore
from components.pusher.worth import BETTER, not_worth

SPLITS = ("train", "validation", "test")
EVIDENCE = ("model_card.md", "report.json", "index.html", "ingest.html")
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
        """Pushes the model, unless it is not worth it, or production is no longer the judged one.

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
            store = ReleaseStore(exec_properties["base_directory"])
            release = {
                **json.loads(exec_properties["release"]),
                **_figures(input_dict),
                "run_id": exec_properties["run_id"],
            }
            release["pretraining"] = release.get("pretraining", {}).get(release["model"], [])
            release["code"] = json.loads(exec_properties["code"])[release["model"]]
            kept = ""
            if exec_properties["rule"] == BETTER:
                changed = _changed(input_dict, release, store)
                kept = not_worth(_against(input_dict), changed=changed)
            outcome |= {"kept": 1, "reason": kept} if kept else _push(input_dict, release, store)
        for name, value in outcome.items():
            if isinstance(value, int):
                pushed_model.set_int_custom_property(name, value)
            else:
                pushed_model.set_string_custom_property(name, value)
        io_utils.write_string_file(f"{pushed_model.uri}/push.json", json.dumps(outcome, indent=2))


def _push(
    input_dict: dict[str, list[Artifact]], release: dict[str, Any], store: ReleaseStore
) -> dict[str, Any]:
    """Pushes the model; what came of it, as properties of the artifact."""
    done = store.push(
        path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"])),
        release=release,
        evidence=_evidence(input_dict),
        judged_against=_judged_against(input_dict),
    )
    if done.refusal:
        return {"reason": done.refusal}
    return {
        "pushed": 1,
        "written": int(done.written),
        "pushed_destination": done.path,
        "pushed_version": str(done.version),
    }


def _evidence(input_dict: dict[str, list[Artifact]]) -> dict[str, str]:
    """Where the version's evidence is, by its path in the version."""
    ingest, statistics, report = (
        artifact_utils.get_single_uri(input_dict[name])
        for name in ("ingest_report", "statistics", "report")
    )
    tracks = _track_lists(ingest)
    sources = {
        **{name: f"{ingest}/{name}" for name in tracks},
        TRAINING_STATISTICS: f"{statistics}/{_STATISTICS_FILE}",
        **{name: f"{report}/{name}" for name in EVIDENCE},
    }
    return {f"assets.extra/{name}": source for name, source in sources.items()}


def _track_lists(folder: str) -> list[str]:
    names = files.names(folder) if files.exists(folder) else []
    return [name for name in names if name.startswith(TRAINING_TRACKS)]


def _report(input_dict: dict[str, list[Artifact]]) -> dict[str, Any]:
    uri = artifact_utils.get_single_uri(input_dict["report"])
    report: dict[str, Any] = json.loads(io_utils.read_string_file(f"{uri}/report.json"))
    return report


def _judged_against(input_dict: dict[str, list[Artifact]]) -> JudgedAgainst:
    """What the release report says was in production."""
    production = _report(input_dict)["production"]
    return JudgedAgainst(production["version"], production["checksum"])


def _against(input_dict: dict[str, list[Artifact]]) -> dict[str, Any] | None:
    """The chosen model beside production, as the gate's report has it."""
    report = _report(input_dict)
    against: dict[str, Any] | None = report["models"][report["chosen"]]["against_production"]
    return against


def _changed(
    input_dict: dict[str, list[Artifact]], release: dict[str, Any], store: ReleaseStore
) -> str:
    """What of data and code is not as it was for production, or unreadable; "" if all is."""
    version = store.newest()
    if version is None:
        return ""
    folders = (
        artifact_utils.get_single_uri(input_dict["ingest_report"]),
        f"{store.folder(version)}/assets.extra",
    )
    try:
        ours, theirs = (
            {
                track
                for name in _track_lists(folder)
                for track in io_utils.read_string_file(f"{folder}/{name}").split()
            }
            for folder in folders
        )
    except (OSError, ValueError):  # damaged: a push mends it
        return "a list of training tracks cannot be read"
    before = store.release(version)
    if ours != theirs or release["copies"] != before.fields.get("copies"):
        return "its training data are others"
    same_code = release["code"] == before.fields.get("code")
    return "" if same_code or before.network != release["model"] else "its code is another"


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
        "test_accuracy_interval": chosen["accuracy_interval"],
        "test_macro_f1": chosen["macro_f1"],
        "test_macro_f1_interval": chosen["macro_f1_interval"],
    }
