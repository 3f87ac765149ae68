"""TestAnswers: what a model answers about the test tracks, as they are and deformed."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.common.artifacts import Report
from components.test_answers import executor


class TestAnswersSpec(ComponentSpec):
    """Inputs, outputs and parameters of `TestAnswers`."""

    __test__ = False  # no test of pytest's, whatever its name

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "stress_examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"answers": ChannelParameter(type=Report)}


class TestAnswers(base_component.BaseComponent):
    """Asks a candidate about the test tracks through the signature that serving uses.

    Output `answers` (see `components.common.answers`): `clean.npz`, `<deformation>.npz` for each
    split of the stress examples, and `answers.json`; with the custom property `failed`, the number
    of answers that are missing.
    """

    __test__ = False

    SPEC_CLASS = TestAnswersSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, model: BaseChannel, examples: BaseChannel, stress_examples: BaseChannel):
        """Creates the node.

        Args:
          model: The candidate, from Trainer or EnsembleTrainer.
          examples: Raw examples with a split `test`.
          stress_examples: StressExamples' output.
        """
        super().__init__(
            spec=TestAnswersSpec(
                model=model,
                examples=examples,
                stress_examples=stress_examples,
                answers=Channel(type=Report),
            )
        )
