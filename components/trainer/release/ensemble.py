"""EnsembleTrainer: exports a weighted mean of a run's other models as a model of its own."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_transform as tft
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import (
    Artifact,
    BaseChannel,
    Channel,
    ComponentSpec,
    artifact_utils,
    standard_artifacts,
)
from tfx.utils import path_utils

from components.audio.settings import AudioSettings
from components.common import remarks, runtime, tracking, validation
from components.common.dynamic_spec import spec_class
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
        answers = [validation.read(run) for run in runs]
        chosen = membership.choose(
            np.stack([one.probabilities for one in validation.shared_windows(answers)]),
            answers[0].labels,
        )
        own_run = artifact_utils.get_single_uri(output_dict["model_run"])
        temperature = model_run.keep_calibrated(
            own_run, validation.ensemble_answers(answers, chosen.weights_without)
        )
        _note(own_run, chosen, config["models"])
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
            temperature=temperature,
        )
        tracking.note_run(output_dict, self._context)


def _note(folder: str, chosen: membership.Membership, names: Sequence[str]) -> None:
    """Writes whom the ensemble consists of, for programs and for whoever reads the run's end."""
    content = {
        "weights": dict(zip(names, chosen.weights.tolist(), strict=True)),
        "reason": chosen.reason,
    }
    with fileio.open(f"{folder}/{MEMBERS_FILE}", "w") as file:
        file.write(json.dumps(content, indent=2))
    remarks.write(folder, [chosen.as_sentence(names)])


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
        outputs = {"model": standard_artifacts.Model, "model_run": standard_artifacts.ModelRun}
        self.SPEC_CLASS = spec_class(
            "EnsembleTrainerSpec",
            parameters={"config": str},
            inputs={
                **{f"model_run_{name}": standard_artifacts.ModelRun for name in model_runs},
                **{
                    f"transform_graph_{name}": standard_artifacts.TransformGraph
                    for name in transform_graphs
                },
            },
            outputs=outputs,
        )
        super().__init__(
            spec=self.SPEC_CLASS(
                config=json.dumps({**config, "models": list(model_runs)}, sort_keys=True),
                **{f"model_run_{name}": channel for name, channel in model_runs.items()},
                **{
                    f"transform_graph_{name}": channel for name, channel in transform_graphs.items()
                },
                **{key: Channel(type=kind) for key, kind in outputs.items()},
            )
        )
