"""Runs a pipeline's stages on this machine, several at a time if asked, and reports on each.

Does what TFX's LocalDagRunner does, which does not tell its caller which node is running and
whether its outputs came from the cache.
"""

import dataclasses
import datetime
import logging
import resource
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from google.protobuf.message import Message
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import (
    base_executor_operator,
    data_types,
    launcher,
    runtime_parameter_utils,
)
from tfx.proto.orchestration import (
    execution_result_pb2,
    local_deployment_config_pb2,
    pipeline_pb2,
)
from tfx.proto.orchestration.execution_invocation_pb2 import ExecutionInvocation

from pipeline.local.schedule import run_graph


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
      cached: Whether the outputs are those of an earlier execution.
      seconds: Wall-clock time.
      outputs: Artifacts by output key.
      peak_bytes: Most memory that its process held at once; 0 for a cached stage.
      processor_seconds: Processor time of its process; 0 for a cached stage.
    """

    stage: str
    cached: bool
    seconds: float
    outputs: dict[str, list[Output]]
    peak_bytes: int = 0
    processor_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Executed:
    """What an executor returned, and what its process has used.

    Attributes:
      output: TFX's description of the outputs.
      peak_bytes: Most memory that the process held at once.
      processor_seconds: Its processor time, with that of processes that it started and waited for.
    """

    output: execution_result_pb2.ExecutorOutput
    peak_bytes: int
    processor_seconds: float


Execute = Callable[[Message, data_types.ExecutionInfo], Executed]
Watch = Callable[[str, int, int], AbstractContextManager[None]]


def run_stages(
    pipeline: tfx_pipeline.Pipeline,
    *,
    watch: Watch,
    finished: Callable[[StageResult], None],
    execute: Execute | None = None,
    last: str = "",
    left_out: Collection[str] = (),
    run_id: str = "",
    at_once: int = 1,
    alone: Callable[[str], bool] = lambda _: False,
    stop: Callable[[], None] = lambda: None,
) -> dict[str, StageResult]:
    """Runs every stage; an executor's exception passes through, and finished work stays.

    This process resolves inputs, looks into the cache and writes to the metadata store, over one
    connection and one stage at a time. Only executors may run elsewhere and beside each other; when
    one fails, those beside it go on to their end.

    Args:
      pipeline: What to run.
      watch: Called with a stage's id, its position from one and the number of stages; the stage
        runs inside the context manager that it returns.
      finished: Called with each result.
      execute: Runs an executor, given its specification and what TFX tells it; in this process
        unless given. It is not called for a stage whose outputs are cached.
      last: Id of the stage to stop after; all of them are run without it.
      left_out: Ids of stages that are not run, and that none which is run needs.
      run_id: Of the run; the time unless given.
      at_once: Most stages at a time. With more than one, `execute` must not run them in this
        process, and `watch` and `finished` are called in threads.
      alone: Whether nothing may run beside a stage of this id.
      stop: Ends what `execute` runs; called if this thread is interrupted.

    Returns:
      Results by node id, in order.
    """
    compiled = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled,
        {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id or datetime.datetime.now().isoformat()},
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    kind = deployment.metadata_connection_config.WhichOneof("connection_config")
    connection = getattr(deployment.metadata_connection_config, kind)
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}
    positions = {stage: position for position, stage in enumerate(nodes, start=1)}
    needs = {
        stage: list(node.upstream_nodes)
        for stage, node in nodes.items()
        if stage not in left_out and (not last or positions[stage] <= positions[last])
    }
    taking_turns = threading.Lock()
    logging.getLogger("absl").addFilter(_is_no_false_alarm)
    with _SharedConnection(connection) as store:

        def run(stage: str) -> StageResult:
            started = time.monotonic()
            spec = runner_utils.extract_executor_spec(deployment, stage)
            # A node that computes nothing, as TFX's Importer, names no executor.
            operator = _Operator(spec, execute or execute_here, taking_turns) if spec else None
            with watch(stage, positions[stage], len(nodes)), taking_turns:
                execution = _launcher(
                    nodes[stage], compiled, store=store, deployment=deployment, operator=operator
                ).launch()
                seconds = time.monotonic() - started
                executed = operator.executed if operator else None
                result = _result(store, stage, int(execution.execution_id), executed, seconds)
            finished(result)
            return result

        return run_graph(
            needs, run, at_once=at_once, alone=[stage for stage in needs if alone(stage)], stop=stop
        )


def execute_here(spec: Message, execution: data_types.ExecutionInfo) -> Executed:
    """Runs an executor in this process.

    Args:
      spec: Names the executor.
      execution: Its inputs, outputs and parameters.
    """
    operator = launcher.DEFAULT_EXECUTOR_OPERATORS[type(spec)](executor_spec=spec)
    before = _processor_seconds()
    output = operator.run_executor(execution)
    return Executed(output, _peak_bytes(), _processor_seconds() - before)


def execute_invocation(spec: Message, invocation: ExecutionInvocation) -> Executed:
    """Runs an executor, as `execute_here` does, from what can be sent to another process."""
    return execute_here(spec, data_types.ExecutionInfo.from_proto(invocation))


def _launcher(
    node: pipeline_pb2.PipelineNode,
    compiled: pipeline_pb2.Pipeline,
    *,
    store: metadata.Metadata,
    deployment: local_deployment_config_pb2.LocalDeploymentConfig,
    operator: "_Operator | None",
) -> launcher.Launcher:
    """TFX's launcher of one node."""
    stage = node.node_info.id
    spec = runner_utils.extract_executor_spec(deployment, stage)
    return launcher.Launcher(
        pipeline_node=node,
        mlmd_connection=store,
        pipeline_info=compiled.pipeline_info,
        pipeline_runtime_spec=compiled.runtime_spec,
        executor_spec=spec,
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, stage),
        custom_executor_operators={type(spec): operator.of_launcher} if operator else None,
    )


class _SharedConnection(metadata.Metadata):
    """A metadata store that stays open: entering it again opens no second connection."""

    def __enter__(self) -> "_SharedConnection":
        if self._users:
            self._users += 1
        else:
            super().__enter__()
        return self


class _Operator(base_executor_operator.BaseExecutorOperator):
    """Has TFX's launcher run an executor by a function of ours, while other stages have their turn.

    Attributes:
      executed: What the function returned; None while the executor has not run.
    """

    SUPPORTED_EXECUTOR_SPEC_TYPE = list(launcher.DEFAULT_EXECUTOR_OPERATORS)
    SUPPORTED_PLATFORM_CONFIG_TYPE: list[type] = []

    def __init__(self, spec: Message, execute: Execute, taking_turns: threading.Lock) -> None:
        """Keeps the lock that the launcher holds, which is free while the executor runs."""
        super().__init__(spec)
        self._execute = execute
        self._taking_turns = taking_turns
        self.executed: Executed | None = None

    def of_launcher(self, **_: object) -> "_Operator":
        """Called by the launcher where it would construct an operator of its own."""
        return self

    def run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        self._taking_turns.release()
        try:
            self.executed = self._execute(self._executor_spec, execution_info)
        finally:
            self._taking_turns.acquire()
        return self.executed.output


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Drops TFX's warning of a predicate, which it writes for every input that has none.

    `channel_resolver` asks whether the predicate, a message, is true, and every message is.
    """
    return record.msg != "ArtifactQuery.property_predicate is not supported."


def _peak_bytes() -> int:
    """Most memory that this process has held; not `ru_maxrss`, which a fork inherits."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _result(
    handle: metadata.Metadata,
    stage: str,
    execution_id: int,
    executed: Executed | None,
    seconds: float,
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
    if executed is None:
        return StageResult(stage, cached, seconds, by_key)
    return StageResult(
        stage, cached, seconds, by_key, executed.peak_bytes, executed.processor_seconds
    )


def _key(steps: Iterable[metadata_store_pb2.Event.Path.Step]) -> str:
    return next(step.key for step in steps if step.HasField("key"))


def _output(artifact: metadata_store_pb2.Artifact) -> Output:
    properties = {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in artifact.custom_properties.items()
        if value.WhichOneof("value") in ("string_value", "int_value", "double_value")
    }
    return Output(artifact.uri, properties)
