"""Runs a pipeline's stages on this machine, one after the other, and tells how each went.

What TFX's LocalDagRunner does, with a place to watch from: it runs every node without a word to
its caller about which one is on or whether it came from the cache.
"""

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils


@dataclasses.dataclass(frozen=True)
class Output:
    """One artifact: its place and its custom properties."""

    uri: str
    properties: dict[str, str | int | float]


@dataclasses.dataclass(frozen=True)
class StageResult:
    """A finished stage.

    Attributes:
      stage: Node id.
      cached: Whether an earlier execution's outputs were taken.
      seconds: Wall-clock time.
      outputs: Artifacts by output key.
    """

    stage: str
    cached: bool
    seconds: float
    outputs: dict[str, list[Output]]


Watch = Callable[[str, int, int], AbstractContextManager[None]]


def run_stages(
    pipeline: tfx_pipeline.Pipeline,
    *,
    watch: Watch,
    finished: Callable[[StageResult], None],
    last: str = "",
) -> dict[str, StageResult]:
    """Runs every stage; an executor's exception passes through, and finished work stays.

    Args:
      pipeline: What to run.
      watch: Called with a stage's id, its position from one and the number of stages; the stage
        runs inside the context manager that it returns.
      finished: Called with each result.
      last: Id of the stage to stop after; all of them are run without it.

    Returns:
      Results by node id, in order.
    """
    compiled = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled,
        {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.datetime.now().isoformat()},
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    kind = deployment.metadata_connection_config.WhichOneof("connection_config")
    connection = getattr(deployment.metadata_connection_config, kind)
    results: dict[str, StageResult] = {}
    for position, node in enumerate(compiled.nodes, start=1):
        stage = node.pipeline_node.node_info.id
        started = time.monotonic()
        with watch(stage, position, len(compiled.nodes)):
            execution = launcher.Launcher(
                pipeline_node=node.pipeline_node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=compiled.pipeline_info,
                pipeline_runtime_spec=compiled.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, stage),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, stage),
            ).launch()
        with metadata.Metadata(connection) as handle:
            results[stage] = _result(
                handle, stage, execution.execution_id, time.monotonic() - started
            )
        finished(results[stage])
        if stage == last:
            break
    return results


def _result(
    handle: metadata.Metadata, stage: str, execution_id: int, seconds: float
) -> StageResult:
    (execution,) = handle.store.get_executions_by_id([execution_id])
    events = handle.store.get_events_by_execution_ids([execution_id])
    outputs = [event for event in events if event.type == metadata_store_pb2.Event.OUTPUT]
    artifacts = {
        artifact.id: artifact
        for artifact in handle.store.get_artifacts_by_id([event.artifact_id for event in outputs])
    }
    by_key: dict[str, list[Output]] = {}
    for event in outputs:
        key = _key(event.path.steps)
        by_key.setdefault(key, []).append(_output(artifacts[event.artifact_id]))
    cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
    return StageResult(stage, cached, seconds, by_key)


def _key(steps: Iterable[metadata_store_pb2.Event.Path.Step]) -> str:
    return next(step.key for step in steps if step.HasField("key"))


def _output(artifact: metadata_store_pb2.Artifact) -> Output:
    properties = {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in artifact.custom_properties.items()
        if value.WhichOneof("value") in ("string_value", "int_value", "double_value")
    }
    return Output(artifact.uri, properties)
