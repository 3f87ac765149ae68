"""Predictions: what a model answers about the test tracks, as they are and deformed."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.common.artifacts import Report
from components.predictions import executor


class PredictionsSpec(ComponentSpec):
    """Inputs, outputs and parameters of `Predictions`."""

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "deformed_examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"answers": ChannelParameter(type=Report)}


class Predictions(base_component.BaseComponent):
    """Asks a candidate about the test tracks through the signature that serving uses.

    Output `answers` (see `components.common.answers`): `clean.npz`, `<deformation>.npz` for each
    split of the deformed examples, and `answers.json`; its custom property `failed` is the number
    of answers that are missing.
    """

    SPEC_CLASS = PredictionsSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self, *, model: BaseChannel, examples: BaseChannel, deformed_examples: BaseChannel
    ):
        """Creates the node.

        Args:
          model: The candidate, from Trainer or EnsembleTrainer.
          examples: Raw examples with a split `test`.
          deformed_examples: DeformedExamples' output.
        """
        super().__init__(
            spec=PredictionsSpec(
                model=model,
                examples=examples,
                deformed_examples=deformed_examples,
                answers=Channel(type=Report),
            )
        )
