"""ModelSelector: from several judged models to the one that may be pushed."""

import json
from collections.abc import Mapping

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts

from components.artifacts import Report
from components.dynamic_spec import spec_class
from components.model_selector import executor


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
        channels = {"model": models, "evaluation": evaluations, "blessing": blessings}
        types = {
            "model": standard_artifacts.Model,
            "evaluation": standard_artifacts.ModelEvaluation,
            "blessing": standard_artifacts.ModelBlessing,
        }
        outputs = {
            "model": standard_artifacts.Model,
            "blessing": standard_artifacts.ModelBlessing,
            "selection": Report,
        }
        self.SPEC_CLASS = spec_class(
            "ModelSelectorSpec",
            parameters={"models": str},
            inputs={f"{kind}_{name}": types[kind] for kind in types for name in models},
            outputs=outputs,
        )
        super().__init__(
            spec=self.SPEC_CLASS(
                models=json.dumps(list(models)),
                **{
                    f"{kind}_{name}": channel
                    for kind, by_model in channels.items()
                    for name, channel in by_model.items()
                },
                **{key: Channel(type=kind) for key, kind in outputs.items()},
            )
        )
