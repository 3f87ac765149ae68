"""ModelSelector: chooses the model that may be pushed."""

import json
from collections.abc import Mapping

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, ComponentSpec, standard_artifacts

from components.common.artifacts import Report
from components.common.dynamic_spec import by_model, component_spec
from components.model_selector import executor


class ModelSelector(base_component.BaseComponent):
    """Picks the best of the blessed models, by their validation figures.

    Outputs: `model`, `blessing` (for Pusher) and `selection` (every candidate's figures, and why
    the gate refused it).
    """

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChannel],
        blessings: Mapping[str, BaseChannel],
        judgement: BaseChannel,
    ):
        """Creates the node.

        Args:
          models: `Model` channel of each branch, by the model's name in the catalog.
          blessings: Gate's `ModelBlessing` channels, by the same names.
          judgement: Gate's report: figures and verdicts.
        """
        spec = component_spec(
            "ModelSelectorSpec",
            parameters={"models": json.dumps(list(models))},
            inputs={"judgement": judgement, **by_model(model=models, blessing=blessings)},
            outputs={
                "model": standard_artifacts.Model,
                "blessing": standard_artifacts.ModelBlessing,
                "selection": Report,
            },
        )
        self.SPEC_CLASS = type(spec)
        super().__init__(spec=spec)
