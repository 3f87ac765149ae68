"""GtzanExampleGen: a folder of music to records in three splits, and a report on how it went."""

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Report
from components.example_gen import files
from components.example_gen.executor import Executor
from components.example_gen.settings import IngestSettings


class GtzanExampleGenSpec(ComponentSpec):
    """What passes in and out of `GtzanExampleGen`."""

    PARAMETERS = {
        "input_base": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "data_fingerprint": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "ingest_report": ChannelParameter(type=Report),
    }


class GtzanExampleGen(BaseBeamComponent):
    """Reads a folder of music and writes one tf.Example a track.

    Outputs `examples` (splits train, validation and test, as DESIGN.md's raw example) and
    `ingest_report` (`report.json`, `tracks.csv` and `index.html`). No driver of its own, so that it
    runs under Kubeflow as it is; what changes without a changed parameter, the data, enters the
    cache's key as `data_fingerprint`.
    """

    SPEC_CLASS = GtzanExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        input_base: str,
        settings: IngestSettings | None = None,
        data_fingerprint: str = "",
        code_fingerprint: str = "",
    ):
        """Describes the node.

        Args:
          input_base: Folder of the genre folders; a path, gs:// or s3://.
          settings: What the ingest is told.
          data_fingerprint: What `fingerprint` said of the data; equal values may come from the
            cache.
          code_fingerprint: Changes with the ingest's code, for the same purpose.
        """
        super().__init__(
            spec=GtzanExampleGenSpec(
                input_base=input_base,
                settings=(settings or IngestSettings()).to_json(),
                data_fingerprint=data_fingerprint,
                code_fingerprint=code_fingerprint,
                examples=Channel(type=standard_artifacts.Examples),
                ingest_report=Channel(type=Report),
            )
        )


def fingerprint(input_base: str, settings: IngestSettings) -> str:
    """Hashes the music, and the lists or artists that the split method reads.

    Args:
      input_base: Folder of the genre folders; a path, gs:// or s3://.
      settings: What the ingest is told.

    Returns:
      32 hexadecimal digits.

    Raises:
      IngestError: There is no music there, or a file is missing.
    """
    files.open_file_systems()
    how = settings.split
    others = {"listed": [how.lists], "artist": [how.artists]}.get(how.method, [])
    return files.fingerprint(input_base, settings.genres, others=others)
