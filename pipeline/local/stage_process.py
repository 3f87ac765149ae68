"""Runs functions in processes of their own, which start at once and give all memory back.

`multiprocessing`'s fork server has imported TensorFlow, Beam, TFX and MLflow and has done nothing
else, so that a stage does not wait for imports, and no stage finds what an earlier one left in
memory.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import Future
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common import progress, storage
from components.common.errors import user_error

if TYPE_CHECKING:  # they bring TFX
    from google.protobuf.message import Message
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from pipeline.local.stages import Executed

_ROOT = Path(__file__).resolve().parents[2]
_PRELOADED = "pipeline.local.preloaded"
_SECONDS_TO_EXIT = 30  # of a process whose function has returned
_SECONDS_TO_OBEY = 5
_SERVER_ENDED = 255  # multiprocessing's exit code of a process that it lost sight of


class StageError(Exception):
    """A stage failed for a reason that is not the user's mistake; its trace is in the log."""


class StageProcesses:
    """Runs functions in processes of their own; a context manager that ends them."""

    def __init__(self, *folders: str) -> None:
        """Starts the fork server, unless this process has one; it imports in the background.

        Args:
          folders: What stages read and write, whose disk may be full when one fails.
        """
        self._folders = folders
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_PRELOADED])
        # The server looks for the module there.
        paths = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, dict.fromkeys(paths)))
        forkserver.ensure_running()
        # multiprocessing keeps a list of processes that only one thread may look through.
        self._bookkeeping = threading.Lock()
        self._running: dict[ForkServerProcess, bool] = {}  # and whether it is a stage
        self._stopped = False

    def __enter__(self) -> "StageProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what still runs."""
        _end(list(self._running))

    def stop(self) -> None:
        """Ends the executors that run, and starts no other."""
        self._stopped = True
        _end([process for process, is_stage in list(self._running.items()) if is_stage])

    def execute(self, spec: "Message", execution: "ExecutionInfo") -> "Executed":
        """Runs the executor that `spec` names, and reports its progress to listeners here.

        Raises:
          UserError: It ended with a user's mistake.
          StageError: It failed otherwise.
        """
        from pipeline.local.stages import execute_invocation

        invocation = execution.to_proto()
        executed: Executed = self._run(execute_invocation, spec, invocation, is_stage=True)
        return executed

    def start(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Runs a function and does not wait for it; `stop` does not end it.

        The function stands at the top of a module; its arguments and result can be pickled. The
        future has its result, or the error that `execute` would raise.
        """
        future: Future[Any] = Future()

        def wait() -> None:
            try:
                future.set_result(self._run(function, *arguments))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=wait, daemon=True).start()
        return future

    def _run(self, function: Callable[..., Any], *arguments: Any, is_stage: bool = False) -> Any:
        messages, sender = self._context.Pipe(duplex=False)
        with messages, sender:
            process = self._context.Process(
                target=_run_function,
                args=(sender, dict(os.environ), self._folders, function, arguments),
            )
            try:
                with self._bookkeeping:
                    process.start()
            except (EOFError, OSError) as error:
                raise StageError("the process that starts the stages has ended") from error
            sender.close()
            self._running[process] = is_stage
            try:
                if is_stage and self._stopped:
                    raise StageError("the run was stopped")
                kind, content = _follow(messages, process.sentinel)
                _wait([process], _SECONDS_TO_EXIT)
            finally:
                _end([process])
                with self._bookkeeping:
                    process.join()
                    if process.exitcode == _SERVER_ENDED and process.pid is not None:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process.pid, signal.SIGKILL)
                    del self._running[process]
        if kind == "done":
            return content
        if kind == "mistake":
            raise content
        raise StageError(content if kind == "failed" else _how_it_ended(process.exitcode))


def _end(processes: Collection[ForkServerProcess]) -> None:
    """Ends processes; each is asked twice first, as an interrupt in a callback is lost."""
    for ask in (ForkServerProcess.terminate, ForkServerProcess.terminate, ForkServerProcess.kill):
        running = _wait(processes, 0)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                ask(process)
        _wait(running, _SECONDS_TO_OBEY)


def _wait(processes: Collection[ForkServerProcess], seconds: float) -> list[ForkServerProcess]:
    """Waits until processes have ended; returns those that have not by then."""
    deadline = time.monotonic() + seconds
    running = {process.sentinel: process for process in processes}
    while running:
        ended = connection.wait(list(running), max(0.0, deadline - time.monotonic()))
        for sentinel in ended:
            del running[sentinel]  # type: ignore[arg-type]
        if not ended:
            break
    return list(running.values())


def _follow(messages: connection.Connection, sentinel: int) -> tuple[str, Any]:
    """Reports a process's progress; returns its last message, or "gone" if it ends without one."""
    while messages in connection.wait([messages, sentinel]):
        try:
            kind, content = messages.recv()
        except (EOFError, OSError):
            break
        if kind != "progress":
            return kind, content
        progress.report(*content)
    return "gone", None


def _run_function(
    messages: connection.Connection,
    environment: dict[str, str],
    folders: tuple[str, ...],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Runs one function; the main function of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the runner, which ends stages
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    sending = threading.Lock()

    def send(kind: str, content: object) -> None:
        with sending, contextlib.suppress(OSError):
            messages.send((kind, content))

    try:
        with progress.listening(lambda *event: send("progress", event)):
            result = function(*arguments)
        send("done", result)
    except BaseException as error:
        traceback.print_exc()
        mistake = user_error(error) or storage.disk_full(error, *folders)
        if mistake is not None:
            send("mistake", mistake)
        else:
            send("failed", one_line(error))


def _end_with_the_runner() -> None:
    runner = multiprocessing.parent_process()
    if runner is not None:
        runner.join()
        os._exit(1)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "the stage's process was killed: was there enough memory?"
    if exit_code == _SERVER_ENDED:
        return "the process that starts the stages was killed: was there enough memory?"
    return f"the stage's process ended by itself (exit code {exit_code})"


def one_line(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}"
