"""EnsembleTrainer: the mean of the branches trained in this run, as a model like any other."""

import json
from collections.abc import Mapping
from typing import Any

import tensorflow_transform as tft
from tfx.dsl.components.base import base_component, base_executor, executor_spec
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
from components.dynamic_spec import spec_class
from components.trainer import model_run
from components.trainer.catalog import feature_names
from components.trainer.export import write_release


class Executor(base_executor.BaseExecutor):
    """Rebuilds the branches' networks and exports them together. Nothing is trained."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Exports.

        Args:
          input_dict: `model_run_<name>` of every branch, and `transform_graph_<feature>` of
            every feature that one of them reads.
          output_dict: `model`.
          exec_properties: `config`, JSON with `models`, `audio` and `serving_name`.
        """
        config = json.loads(exec_properties["config"])
        settings = AudioSettings(**config["audio"])
        branches = [
            model_run.load_branch(
                artifact_utils.get_single_uri(input_dict[f"model_run_{name}"]), settings
            )
            for name in config["models"]
        ]
        write_release(
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict["model"])),
            branches,
            settings=settings,
            transforms={
                name: tft.TFTransformOutput(
                    artifact_utils.get_single_uri(input_dict[f"transform_graph_{name}"])
                )
                for name in feature_names(config["models"])
            },
            serving_name=config["serving_name"],
        )


class EnsembleTrainer(base_component.BaseComponent):
    """Averages the window probabilities of several models. Output: `model`."""

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
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
          model_runs: By catalog name, each branch's `ModelRun` channel.
          transform_graphs: By feature, the graph of the Transform that computes it.
          config: `audio`, `serving_name` and a fingerprint of the code.
        """
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
            outputs={"model": standard_artifacts.Model},
        )
        super().__init__(
            spec=self.SPEC_CLASS(
                config=json.dumps({**config, "models": list(model_runs)}, sort_keys=True),
                **{f"model_run_{name}": channel for name, channel in model_runs.items()},
                **{
                    f"transform_graph_{name}": channel for name, channel in transform_graphs.items()
                },
                model=Channel(type=standard_artifacts.Model),
            )
        )
