"""GtzanExampleGen: converts a folder of music to records in three splits, with a report."""

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.dsl.placeholder import placeholder
from tfx.types import standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.common.artifacts import Report
from components.example_gen.executor import Executor
from components.example_gen.files import fingerprint
from components.example_gen.settings import IngestSettings

__all__ = ["GtzanExampleGen", "fingerprint"]


class GtzanExampleGenSpec(ComponentSpec):
    """Outputs and parameters of `GtzanExampleGen`."""

    PARAMETERS = {
        "input_base": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "data_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "ingest_report": ChannelParameter(type=Report),
    }


class GtzanExampleGen(BaseBeamComponent):
    """Reads a folder of music and writes one tf.Example a track.

    Outputs `examples` (splits train, validation and test; `schemas/gtzan.pbtxt`) and
    `ingest_report` (`report.json`, `index.html` and lists). The data may change while every
    parameter stays the same, so its hash is a parameter, too.
    """

    SPEC_CLASS = GtzanExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        input_base: str,
        settings: IngestSettings,
        data_fingerprint: str | placeholder.Placeholder = "",
    ):
        """Creates the node.

        Args:
          input_base: Folder of the genre folders; a path, gs:// or s3://.
          settings: Ingest settings.
          data_fingerprint: Result of `fingerprint` for the data, or the output of a
            `DataFingerprint`; cached outputs may be reused while it stays the same.
        """
        super().__init__(
            spec=GtzanExampleGenSpec(
                input_base=input_base,
                settings=settings.to_json(),
                data_fingerprint=data_fingerprint,
                examples=Channel(type=standard_artifacts.Examples),
                ingest_report=Channel(type=Report),
            )
        )
