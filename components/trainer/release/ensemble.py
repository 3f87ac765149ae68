"""EnsembleTrainer: exports a weighted mean of a run's other models as a model of its own."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_transform as tft
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import (
    Artifact,
    BaseChannel,
    ComponentSpec,
    artifact_utils,
    standard_artifacts,
)
from tfx.utils import io_utils, path_utils

from components.audio.settings import AudioSettings
from components.common import remarks, runtime, tracking
from components.common.dynamic_spec import by_model, component_spec
from components.trainer import validation
from components.trainer.release import membership, model_run
from components.trainer.release.export import write_release

MEMBERS_FILE = "members.json"


class Executor(base_executor.BaseExecutor):
    """Weighs the branches, rebuilds their networks and exports them as one; trains nothing."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Exports the ensemble.

        Args:
          input_dict: `model_run_<name>` of every branch, and `transform_graph_<feature>` of
            every feature that a branch reads.
          output_dict: `model`, and `model_run` with the members' weights (`members.json`) and the
            ensemble's validation answers, each track's with weights chosen without it.
          exec_properties: `config`, JSON with `models`, `audio`, `genres` and `serving_name`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        config = json.loads(exec_properties["config"])
        settings = AudioSettings(**config["audio"])
        runs = [
            artifact_utils.get_single_uri(input_dict[f"model_run_{name}"])
            for name in config["models"]
        ]
        answers = validation.shared_windows([validation.read(run) for run in runs])
        chosen = membership.choose(
            np.stack([member.probabilities for member in answers]),
            answers[0].labels,
            answers[0].track_ids,
        )
        mean, fitted = validation.calibrated(
            validation.ensemble_answers(answers, chosen.weights_without)
        )
        branches = [
            dataclasses.replace(model_run.load_branch(run, settings), weight=float(weight))
            for run, weight in zip(runs, chosen.weights, strict=True)
            if weight > 0.0
        ]
        write_release(
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict["model"])),
            branches,
            settings=settings,
            genres=config["genres"],
            transforms={
                name: tft.TFTransformOutput(
                    artifact_utils.get_single_uri(input_dict[f"transform_graph_{name}"])
                )
                for name in dict.fromkeys(branch.feature.name for branch in branches)
            },
            serving_name=config["serving_name"],
            temperature=fitted.temperature,
        )
        own_run = artifact_utils.get_single_uri(output_dict["model_run"])
        validation.write(own_run, mean, fitted)
        members = dict(zip(config["models"], chosen.weights.tolist(), strict=True))
        io_utils.write_string_file(
            f"{own_run}/{MEMBERS_FILE}",
            json.dumps({"weights": members, "reason": chosen.reason}, indent=2),
        )
        remarks.write(own_run, [chosen.as_sentence(config["models"])])
        tracking.note_run(output_dict, self._context)


class EnsembleTrainer(base_component.BaseComponent):
    """Averages several models' window probabilities by weight, and calibrates the mean.

    Outputs: `model`, `model_run`.
    """

    SPEC_CLASS = ComponentSpec  # replaced in each instance, whose inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor_class=Executor)

    def __init__(
        self,
        *,
        model_runs: Mapping[str, BaseChannel],
        transform_graphs: Mapping[str, BaseChannel],
        config: Mapping[str, Any],
    ):
        """Creates the node.

        Args:
          model_runs: The `ModelRun` channel of each branch, by name of the model.
          transform_graphs: The graph of the Transform that computes each feature, by feature name.
          config: `audio`, `genres`, `serving_name`, and `code` for the node's fingerprint.
        """
        spec = component_spec(
            "EnsembleTrainerSpec",
            parameters={
                "config": json.dumps({**config, "models": list(model_runs)}, sort_keys=True)
            },
            inputs=by_model(model_run=model_runs, transform_graph=transform_graphs),
            outputs={
                "model": standard_artifacts.Model,
                "model_run": standard_artifacts.ModelRun,
            },
        )
        self.SPEC_CLASS = type(spec)
        super().__init__(spec=spec)
