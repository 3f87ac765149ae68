"""DeformedExamples: the test split as serving meets it, for the gate's robustness figures."""

import dataclasses
import json

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.audio.settings import AudioSettings
from components.deformed_examples.executor import Executor


class DeformedExamplesSpec(ComponentSpec):
    """Inputs, outputs and parameters of `DeformedExamples`."""

    PARAMETERS = {"audio": ExecutionParameter(type=str)}
    INPUTS = {"raw_examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class DeformedExamples(BaseBeamComponent):
    """Writes the test split again, once for each deformation of `components.audio.deformations`.

    Output `examples`, raw examples whose splits are named as the deformations. They hold
    `track_id`, `genre`, `audio` and the `content_hash` of the track that was deformed; a track that
    could not be deformed has `failure`, the reason, in place of `audio`.
    """

    SPEC_CLASS = DeformedExamplesSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, *, examples: BaseChannel, audio: AudioSettings):
        """Creates the node.

        Args:
          examples: Raw examples with a split `test`.
          audio: The analysis settings; rate and shortest sound are read.
        """
        super().__init__(
            spec=DeformedExamplesSpec(
                raw_examples=examples,
                audio=json.dumps(dataclasses.asdict(audio), sort_keys=True),
                examples=Channel(type=standard_artifacts.Examples),
            )
        )
