"""ModelSelector: from several judged models to the one that may be pushed."""

import json
from collections.abc import Mapping, Sequence

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import Report
from components.model_selector import executor


def _spec_class(names: Sequence[str]) -> type[ComponentSpec]:
    """A spec with three inputs for every model: Kubeflow wants each input under its own name."""
    kinds = {
        "model": standard_artifacts.Model,
        "evaluation": standard_artifacts.ModelEvaluation,
        "blessing": standard_artifacts.ModelBlessing,
    }
    return type(
        "ModelSelectorSpec",
        (ComponentSpec,),
        {
            "PARAMETERS": {"models": ExecutionParameter(type=str)},
            "INPUTS": {
                f"{kind}_{name}": ChannelParameter(type=artifact_type)
                for name in names
                for kind, artifact_type in kinds.items()
            },
            "OUTPUTS": {
                "model": ChannelParameter(type=standard_artifacts.Model),
                "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
                "selection": ChannelParameter(type=Report),
            },
        },
    )


class ModelSelector(base_component.BaseComponent):
    """Picks the best of the blessed models.

    Outputs: `model`, `blessing` (for Pusher) and `selection` (every candidate's figures and the
    thresholds it missed).
    """

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChannel],
        evaluations: Mapping[str, BaseChannel],
        blessings: Mapping[str, BaseChannel],
    ):
        """Creates the node.

        Args:
          models: By catalog name, each branch's `Model` channel.
          evaluations: The same names, `ModelEvaluation` channels.
          blessings: The same names, `ModelBlessing` channels.
        """
        spec_class = _spec_class(list(models))
        self.SPEC_CLASS = spec_class
        inputs: dict[str, BaseChannel] = {}
        for name in models:
            inputs[f"model_{name}"] = models[name]
            inputs[f"evaluation_{name}"] = evaluations[name]
            inputs[f"blessing_{name}"] = blessings[name]
        super().__init__(
            spec=spec_class(
                models=json.dumps(list(models)),
                **inputs,
                model=Channel(type=standard_artifacts.Model),
                blessing=Channel(type=standard_artifacts.ModelBlessing),
                selection=Channel(type=Report),
            )
        )
