"""Runs functions in processes of their own, which start at once and give all memory back.

The processes are forked from a server that has imported TensorFlow, Beam, TFX and MLflow and has
done nothing else, so that a stage does not wait for imports, and no stage finds what an earlier one
left in memory. The server itself is forked from the runner, once that has imported what it needs.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import connection, reduction
from typing import TYPE_CHECKING, Any

from components.common import progress, runtime, storage
from components.common.errors import user_error

if TYPE_CHECKING:  # they bring TFX
    from google.protobuf.message import Message
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from pipeline.local.stages import Executed

# Modules that stages need; the server imports them before the first stage starts.
_IMPORTED_BY_STAGES = (
    "pipeline.local.stages",
    "components.evaluator.component",
    "components.example_gen.component",
    "components.gate.component",
    "components.run_recorder.component",
    "components.run_recorder.pictures",
    "components.trainer.executor",
    "components.trainer.release.ensemble",
    "components.trainer.trainer",
    "components.transform.preprocessing",
    "mlflow.store.tracking.sqlalchemy_store",
)
_SECONDS_TO_END = 30


class StageError(Exception):
    """A stage failed for a reason that is not the user's mistake; its trace is in the log."""


class StageProcesses:
    """Runs functions in processes of their own; a context manager."""

    def __init__(self, *places: str, start_method: str = "fork") -> None:
        """Starts the server, which imports what is not imported yet in the background.

        Args:
          places: Folders that stages read and write, whose disk may be full when one fails.
          start_method: How `multiprocessing` starts the server: "fork" shares this process's
            imports, but this process must not have used TensorFlow or gRPC, whose threads do not
            survive a fork; "spawn" works at any time.
        """
        self._places = places
        self._sending = threading.Lock()
        self._running: set[int] = set()
        context = multiprocessing.get_context(start_method)
        self._control, theirs = context.Pipe()
        # Forked, the server holds this end too, and must close it: it learns from the end of the
        # pipe that this process has ended.
        ours = self._control if start_method == "fork" else None
        self._server = context.Process(target=_serve, args=(theirs, ours))  # type: ignore[attr-defined]
        self._server.start()
        theirs.close()

    def __enter__(self) -> "StageProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what still runs in the background, and the server."""
        self.stop()
        self._control.close()
        self._server.join(_SECONDS_TO_END)
        for pid in tuple(self._running):
            _signal(pid, signal.SIGKILL)
        self._server.join()

    def stop(self) -> None:
        """Interrupts every function that runs."""
        for pid in tuple(self._running):
            _signal(pid, signal.SIGTERM)

    def execute(self, spec: "Message", execution: "ExecutionInfo") -> "Executed":
        """Runs an executor and reports its progress to this process's listeners.

        Args:
          spec: Names the executor.
          execution: Its inputs, outputs and parameters.

        Raises:
          UserError: It ended with a user's mistake.
          StageError: It failed otherwise.
        """
        from pipeline.local.stages import execute_invocation

        executed: Executed = self.run(execute_invocation, spec, execution.to_proto())
        return executed

    def start(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Runs a function as `run` does, and does not wait for it."""
        future: Future[Any] = Future()

        def wait() -> None:
            try:
                future.set_result(self.run(function, *arguments))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=wait, daemon=True).start()
        return future

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function and reports its progress to this process's listeners.

        Args:
          function: Defined at the top of a module.
          arguments: What can be pickled.

        Returns:
          What the function returned, which must be picklable.

        Raises:
          UserError: It ended with a user's mistake.
          StageError: It failed otherwise.
        """
        messages, their_messages = multiprocessing.Pipe()
        status, their_status = multiprocessing.Pipe()
        with messages, status:
            try:
                with self._sending:
                    self._control.send((dict(os.environ), self._places, function, arguments))
                    for theirs in (their_messages, their_status):
                        reduction.send_handle(self._control, theirs.fileno(), self._server.pid)
                    their_messages.close()
                    their_status.close()
                pid = status.recv()
            except (EOFError, OSError) as error:
                raise StageError("the process that starts the stages has ended") from error
            self._running.add(pid)
            patience = 0
            try:
                kind, content = _follow(messages)
                patience = _SECONDS_TO_END
            finally:
                exit_code = _end(pid, status, patience)
                self._running.discard(pid)
        if kind == "done":
            return content
        if kind == "mistake":
            raise content
        raise StageError(content if kind == "failed" else _how_it_ended(exit_code))


def _end(pid: int, status: connection.Connection, patience: int) -> int | None:
    """Waits so many seconds for a process to end by itself, then stops it.

    Returns:
      Its exit code; None if the server has ended, which alone knows it.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if status.poll(patience):
            break
        patience = _SECONDS_TO_END
        _signal(pid, number)
    try:
        exit_code: int = status.recv()
    except (EOFError, OSError):
        return None
    return exit_code


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _follow(messages: connection.Connection) -> tuple[str, Any]:
    """Reports a process's progress; returns its last message, or "gone" if it ends without one."""
    while True:
        try:
            kind, content = messages.recv()
        except (EOFError, OSError):
            return "gone", None
        if kind != "progress":
            return kind, content
        progress.report(*content)


def _serve(control: connection.Connection, other_end: connection.Connection | None) -> None:
    """Forks a process for each function that is to be run; the main function of the server.

    Args:
      control: Takes the arguments of `_run_function`, each followed by the handles of two pipes:
        one for the process's messages, one that tells its id and, once it has ended, its exit code.
      other_end: The runner's end of it, if this process was forked and so holds it.
    """
    if other_end is not None:
        other_end.close()
    interruptible = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the runner, which ends stages
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with runtime.importing():
        for module in _IMPORTED_BY_STAGES:
            importlib.import_module(module)
    context = multiprocessing.get_context("fork")
    process: multiprocessing.process.BaseProcess
    running: dict[Any, tuple[multiprocessing.process.BaseProcess, connection.Connection]] = {}
    with contextlib.suppress(EOFError, OSError):  # the runner has ended
        while True:
            for ready in connection.wait([control, *running]):
                if ready is control:
                    arguments = control.recv()
                    messages, status = (
                        connection.Connection(reduction.recv_handle(control)) for _ in range(2)
                    )
                    # The process inherits these; held open, they would hide the server's end.
                    others = (control, status, *(other for _, other in running.values()))
                    process = context.Process(
                        target=_run_function, args=(others, messages, interruptible, *arguments)
                    )
                    process.start()
                    messages.close()
                    running[process.sentinel] = process, status
                    answer = process.pid
                else:
                    ended, status = running.pop(ready)
                    ended.join()
                    answer = ended.exitcode
                with contextlib.suppress(OSError):  # whoever waited for it has gone
                    status.send(answer)


def _run_function(
    others: tuple[connection.Connection, ...],
    messages: connection.Connection,
    interruptible: bool,
    environment: dict[str, str],
    places: tuple[str, ...],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Runs one function; the main function of its process."""
    for other in others:
        other.close()
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGTERM, _interrupt)
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sending = threading.Lock()

    def send(kind: str, content: object) -> None:
        with sending, contextlib.suppress(OSError):
            messages.send((kind, content))

    threading.Thread(target=_end_with_the_run, args=(messages,), daemon=True).start()
    try:
        with progress.listening(lambda *event: send("progress", event)):
            result = function(*arguments)
        send("done", result)
    except BaseException as error:
        traceback.print_exc()
        mistake = user_error(error) or storage.disk_full(error, *places)
        if mistake is not None:
            send("mistake", mistake)
        else:
            send("failed", one_line(error))


def _end_with_the_run(messages: connection.Connection) -> None:
    """Ends this process when the runner's is gone: the runner sends nothing while a stage runs."""
    with contextlib.suppress(OSError):
        messages.poll(None)
    os._exit(1)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "the stage's process was killed: was there enough memory?"
    return f"the stage's process ended by itself (exit code {exit_code})"


def one_line(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}"
