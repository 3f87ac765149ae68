"""Predictions' executor: one model's answers for the test tracks, as they are and deformed."""

import collections
import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.common import answers, progress, raw_examples, runtime
from components.predictions.answering import ask_about
from components.predictions.classifier import Classifier

SPLIT = "test"
SUMMARY_FILE = "answers.json"


class Executor(base_executor.BaseExecutor):
    """Loads the model once and asks it about every track of every split."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `clean.npz`, `<deformation>.npz` for each, and `answers.json`.

        `answers.json` holds `genres` (in label order), `tracks` (their number, by file) and
        `failed` (by file, the reason for each track without an answer). A bad model is no reason to
        stop: its answers say so.

        Args:
          input_dict: `model`, `examples` (raw, with a split `test`), `deformed_examples` (raw, a
            split a deformation).
          output_dict: `answers`.
          exec_properties: Nothing that is read.

        Raises:
          UserError: The model cannot be loaded.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        deformed = artifact_utils.get_single_instance(input_dict["deformed_examples"])
        output = artifact_utils.get_single_instance(output_dict["answers"])
        examples = artifact_utils.get_single_uri(input_dict["examples"])
        files = {answers.CLEAN: raw_examples.split_files(examples, SPLIT)} | {
            name: raw_examples.split_files(deformed.uri, name)
            for name in artifact_utils.decode_split_names(deformed.split_names)
        }
        clean_tracks = sum(1 for _ in raw_examples.records(files[answers.CLEAN]))
        classifier = Classifier(path_utils.serving_model_path(model.uri))
        tally = collections.Counter[str]()

        def advance(tracks: int) -> None:
            tally["done"] += tracks
            progress.report("tracks answered", tally["done"], clean_tracks * len(files))

        summary: dict[str, Any] = {"genres": classifier.genres, "tracks": {}, "failed": {}}
        for name, split in files.items():
            result = ask_about(
                raw_examples.tracks(split), classifier, classifier.genres, advance=advance
            )
            answers.write(output.uri, name, result.answers)
            summary["tracks"][name] = len(result.answers.track_ids)
            summary["failed"][name] = result.failures
        io_utils.write_string_file(f"{output.uri}/{SUMMARY_FILE}", json.dumps(summary, indent=2))
        output.set_int_custom_property(
            "failed", sum(len(reasons) for reasons in summary["failed"].values())
        )
