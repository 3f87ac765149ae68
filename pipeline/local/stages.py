"""Runs a pipeline's stages on this machine, several at a time if asked, and reports on each.

Does what TFX's LocalDagRunner does, which does not tell its caller which node is running and
whether its outputs came from the cache.
"""

import contextlib
import dataclasses
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import psutil
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
from tfx.proto.orchestration import execution_result_pb2
from tfx.proto.orchestration.execution_invocation_pb2 import ExecutionInvocation

from pipeline.local.schedule import run_graph


@dataclasses.dataclass(frozen=True)
class Output:
    """One artifact: its URI and its custom properties."""

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


Execute: TypeAlias = Callable[[Message, data_types.ExecutionInfo], Executed]


class Observer:
    """Is told of each stage, in the thread that the stage has; by itself it does nothing."""

    def running(self, stage: str) -> AbstractContextManager[None]:
        """Returns a context manager that the stage runs inside."""
        return contextlib.nullcontext()

    def finished(self, result: StageResult) -> None:
        """Takes the result of a stage that did not fail."""


def run_stages(
    pipeline: tfx_pipeline.Pipeline,
    *,
    execute: Execute | None = None,
    stop: Callable[[], None] = lambda: None,
    observer: Observer | None = None,
    only: Collection[str] | None = None,
    run_id: str = "",
    at_once: int = 1,
    check: Callable[[], None] = lambda: None,
) -> dict[str, StageResult]:
    """Runs every stage; an executor's exception passes through, and finished work stays.

    This process resolves inputs, looks into the cache and writes to the metadata store, over one
    connection. Only executors run beside each other; when one fails, those beside it go on to their
    end.

    Args:
      pipeline: What to run.
      execute: Runs the executor of a stage that is not cached; in this process unless given.
      stop: Makes executors that run end.
      observer: Is told of each stage.
      only: Ids of the stages to run, which need no other; all unless given.
      run_id: Of the run; a new one unless given.
      at_once: Most stages at a time; with more than one, not in this process.
      check: Called every second; its exception stops the executors and passes through.

    Returns:
      Results by node id, in order.
    """
    execute, observer = execute or execute_here, observer or Observer()
    compiled = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id or uuid.uuid4().hex}
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    kind = deployment.metadata_connection_config.WhichOneof("connection_config")
    connection = getattr(deployment.metadata_connection_config, kind)
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}
    needs = {
        stage: list(node.upstream_nodes)
        for stage, node in nodes.items()
        if only is None or stage in only
    }
    logging.getLogger("absl").addFilter(_is_no_false_alarm)
    with _SharedStore(connection).opened() as store:

        def run(stage: str) -> StageResult:
            started = time.monotonic()
            executed: list[Executed] = []
            spec = runner_utils.extract_executor_spec(deployment, stage)
            operator = functools.partial(_Operator, execute=execute, executed=executed)
            with observer.running(stage):
                execution = launcher.Launcher(
                    pipeline_node=nodes[stage],
                    mlmd_connection=store,
                    pipeline_info=compiled.pipeline_info,
                    pipeline_runtime_spec=compiled.runtime_spec,
                    executor_spec=spec,
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, stage),
                    custom_executor_operators={type(spec): operator},
                ).launch()
                seconds = time.monotonic() - started
                result = _result(store, stage, int(execution.execution_id), seconds, executed)
            observer.finished(result)
            return result

        return run_graph(
            needs,
            run,
            at_once=at_once,
            # It measures how fast a model answers.
            alone=[stage for stage in needs if stage.startswith("ServingCheck")],
            check=check,
            stop=stop,
        )


def execute_here(spec: Message, execution: data_types.ExecutionInfo) -> Executed:
    """Runs the executor that `spec` names, given its inputs, outputs and parameters."""
    operator = launcher.DEFAULT_EXECUTOR_OPERATORS[type(spec)](executor_spec=spec)
    before = _processor_seconds()
    output = operator.run_executor(execution)
    return Executed(output, _peak_bytes(), _processor_seconds() - before)


def execute_invocation(spec: Message, invocation: ExecutionInvocation) -> Executed:
    """Does the same from what can be sent to another process."""
    return execute_here(spec, data_types.ExecutionInfo.from_proto(invocation))


class _SharedStore(metadata.Metadata):
    """A metadata store with one connection, which inside `with store:` one thread has for itself.

    TFX's launcher enters the store where it reads or writes, and leaves it while an executor runs.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        super().__init__(connection)
        self._turn = threading.RLock()

    @contextlib.contextmanager
    def opened(self) -> Iterator["_SharedStore"]:
        super().__enter__()
        try:
            yield self
        finally:
            super().__exit__()

    def __enter__(self) -> "_SharedStore":
        self._turn.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._turn.release()


class _Operator(base_executor_operator.BaseExecutorOperator):
    """Has TFX's launcher run an executor by a function of ours."""

    SUPPORTED_EXECUTOR_SPEC_TYPE = list(launcher.DEFAULT_EXECUTOR_OPERATORS)
    SUPPORTED_PLATFORM_CONFIG_TYPE: list[type] = []

    def __init__(
        self,
        executor_spec: Message,
        platform_config: Message | None,
        *,
        execute: Execute,
        executed: list[Executed],
    ) -> None:
        super().__init__(executor_spec, platform_config)
        self._run = functools.partial(execute, executor_spec)
        self._executed = executed

    def run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        self._executed.append(self._run(execution_info))
        return self._executed[-1].output


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
    times = psutil.Process().cpu_times()
    return sum((times.user, times.system, times.children_user, times.children_system))


def _result(
    store: metadata.Metadata,
    stage: str,
    execution_id: int,
    seconds: float,
    executed: list[Executed],
) -> StageResult:
    with store:
        (record,) = store.store.get_executions_by_id([execution_id])
        events = store.store.get_events_by_execution_ids([execution_id])
        keys = {
            event.artifact_id: next(step.key for step in event.path.steps if step.HasField("key"))
            for event in events
            if event.type == metadata_store_pb2.Event.OUTPUT
        }
        artifacts = {each.id: each for each in store.store.get_artifacts_by_id(list(keys))}
    outputs: dict[str, list[Output]] = {}
    for artifact, key in keys.items():
        outputs.setdefault(key, []).append(_output(artifacts[artifact]))
    cached = record.last_known_state == metadata_store_pb2.Execution.CACHED
    return StageResult(
        stage,
        cached,
        seconds,
        outputs,
        peak_bytes=max((execution.peak_bytes for execution in executed), default=0),
        processor_seconds=sum(execution.processor_seconds for execution in executed),
    )


def _output(artifact: metadata_store_pb2.Artifact) -> Output:
    properties = {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in artifact.custom_properties.items()
        if value.WhichOneof("value") in ("string_value", "int_value", "double_value")
    }
    return Output(artifact.uri, properties)
