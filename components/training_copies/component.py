"""TrainingCopies: training data as serving meets it, between ingest and the Transforms."""

import dataclasses
import json

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.audio.settings import AudioSettings
from components.training_copies.executor import Executor


class TrainingCopiesSpec(ComponentSpec):
    """Inputs, outputs and parameters of `TrainingCopies`."""

    PARAMETERS = {
        "audio": ExecutionParameter(type=str),
        "copies": ExecutionParameter(type=int),
    }
    INPUTS = {"raw_examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class TrainingCopies(BaseBeamComponent):
    """Adds copies of tracks through random chains of `components.audio.degradations`.

    Output `examples`: raw examples with the splits `train` (each track and its copies),
    `validation` (each track and one copy) and `test` (the tracks as they are). A copy has its
    track's id, genre and content hash, and is in its track's split.
    """

    SPEC_CLASS = TrainingCopiesSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, *, examples: BaseChannel, audio: AudioSettings, copies: int):
        """Creates the node.

        Args:
          examples: Raw examples with the splits `train`, `validation` and `test`.
          audio: The analysis settings; rate and shortest sound are read.
          copies: Copies of each training track, 1 or more.
        """
        super().__init__(
            spec=TrainingCopiesSpec(
                raw_examples=examples,
                audio=json.dumps(dataclasses.asdict(audio), sort_keys=True),
                copies=copies,
                examples=Channel(type=standard_artifacts.Examples),
            )
        )
