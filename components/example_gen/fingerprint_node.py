"""DataFingerprint: hashes the music when the run runs, for runs that are compiled long before.

A compiled file runs on Kubeflow again and again, and GtzanExampleGen would be served from the cache
whatever was added to the bucket. This node always runs; its output is GtzanExampleGen's parameter
`data_fingerprint`, so all that follows is cached as long as the music is the same.
"""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.common import lineage, runtime
from components.example_gen import files
from components.example_gen.settings import IngestSettings


class Executor(base_executor.BaseExecutor):
    """Shell around `files.fingerprint`."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Hashes `input_base` into `fingerprint`; an `IngestError` says why that is impossible."""
        runtime.prepare(input_dict, output_dict, exec_properties)
        settings = IngestSettings.from_json(exec_properties["settings"])
        artifact = artifact_utils.get_single_instance(output_dict["fingerprint"])
        music = files.fingerprint(exec_properties["input_base"], settings)
        artifact.value = lineage.current(music, exec_properties["retired"])


class DataFingerprintSpec(ComponentSpec):
    """Output and parameters of `DataFingerprint`."""

    PARAMETERS = {
        "input_base": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "retired": ExecutionParameter(type=str),
        "run_id": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"fingerprint": ChannelParameter(type=standard_artifacts.String)}


class DataFingerprint(base_component.BaseComponent):
    """Hashes the music; its `run_id` differs in every run, so it is never cached.

    Output `fingerprint`, a text that is another node's parameter by
    `outputs["fingerprint"].future()[0].value`.
    """

    SPEC_CLASS = DataFingerprintSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, input_base: str, settings: IngestSettings, retired: str, run_id: str):
        """Creates the node.

        Args:
          input_base: Folder of the genre folders; a path, gs:// or s3://.
          settings: Ingest settings.
          retired: Folder that names the music whose results were removed (`lineage.current`), which
            gets another fingerprint; "" for none.
          run_id: Id of this run of the pipeline.
        """
        super().__init__(
            spec=DataFingerprintSpec(
                input_base=input_base,
                settings=settings.to_json(),
                retired=retired,
                run_id=run_id,
                fingerprint=Channel(type=standard_artifacts.String),
            )
        )
