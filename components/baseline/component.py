"""Baseline: a logistic regression that every network has to beat."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.baseline import executor
from components.common.artifacts import Report


class BaselineSpec(ComponentSpec):
    """Inputs, outputs and parameters of `Baseline`."""

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {"transformed_examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"answers": ChannelParameter(type=Report)}


class Baseline(base_component.BaseComponent):
    """Fits logistic regression on clip descriptors and classifies validation and test tracks.

    Output `answers` (see `components.common.answers`): `clean.npz` for the test split,
    `validation.npz`, and `baseline.json`.
    """

    SPEC_CLASS = BaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, transformed_examples: BaseChannel):
        """Creates the node.

        Args:
          transformed_examples: Output of the Transform that computes descriptors.
        """
        super().__init__(
            spec=BaselineSpec(
                transformed_examples=transformed_examples, answers=Channel(type=Report)
            )
        )
