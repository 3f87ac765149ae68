"""A run on this machine: plan, execute, show, exit code; with its locks, log and signals."""

import contextlib
import datetime
import fcntl
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from components.common import progress, runtime, storage
from components.common.errors import UserError, user_error
from pipeline import config_file
from pipeline.config import PipelineConfig
from pipeline.local import mlflow_store
from pipeline.local.console import StageDisplay, screen_apart_from_log
from pipeline.local.interruption import Interruption
from pipeline.local.planning import Plan
from pipeline.local.stage_process import StageError, StageProcesses, one_line

if TYPE_CHECKING:  # it brings TensorFlow
    from pipeline.local.stages import StageResult

PUSHED, FAILED, NOT_BLESSED, INTERRUPTED = 0, 1, 2, 130

_PLAIN_WIDTH = 120
_INTERRUPTED_TEXT = "Interrupted. What is finished is kept: the same command goes on from there."


def run(
    config: PipelineConfig,
    *,
    plan: Callable[[PipelineConfig, StageDisplay], Plan],
    show: Callable[["dict[str, StageResult]", PipelineConfig, Console], bool],
    flags: str = "",
) -> int:
    """Runs a pipeline and shows its progress.

    Args:
      config: Settings of the run.
      plan: Says what is to be run; it may take a while, as it imports TensorFlow.
      show: Prints what came out of a run, and tells whether a model is pushed.
      flags: Content of the file in the output folder that says with which flags it ran.

    Returns:
      The exit code: `PUSHED`, `NOT_BLESSED`, `FAILED` or `INTERRUPTED`.

    Raises:
      UserError: MLflow's server does not answer, or its URI is none. Nothing was written then.
    """
    mlflow_store.check_reachable(mlflow_store.tracking_uri(config))
    started = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    log_file = config.local_folder / "logs" / f"{started}.log"
    try:
        with Interruption() as interruption, contextlib.ExitStack() as stack:
            for lock_file, message in _locks(config).items():
                stack.enter_context(_held(lock_file, message))
            if flags:
                (config.local_folder / config_file.FILE).write_text(flags)
            screen = stack.enter_context(screen_apart_from_log(log_file))
            # In a pipe or CI, lines must not break at 80 columns.
            console = Console(file=screen, width=None if screen.isatty() else _PLAIN_WIDTH)
            try:
                results, config = _plan_and_execute(config, plan, console, interruption, log_file)
                interruption.ignore()  # the run has its outcome
                return PUSHED if show(results, config, console) else NOT_BLESSED
            except (Exception, KeyboardInterrupt) as error:
                interruption.ignore()
                return _report(error, interruption.requested, config, console, log_file)
    except UserError as error:
        print(f"gatefold run: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever read the output has gone, as `| head` does.
        return FAILED
    except OSError as error:  # of the log
        print(f"gatefold run: --output: cannot write: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        # It came before the output was redirected, or while it was restored.
        print(_INTERRUPTED_TEXT)
        return INTERRUPTED


def _plan_and_execute(
    config: PipelineConfig,
    make_plan: Callable[[PipelineConfig, StageDisplay], Plan],
    console: Console,
    interruption: Interruption,
    log_file: Path,
) -> "tuple[dict[str, StageResult], PipelineConfig]":
    runtime.quieten()
    display = StageDisplay(console)
    with (
        display,
        progress.listening(display.report),
        # It imports TensorFlow while this process does.
        StageProcesses(config.data.folder, config.output) as processes,
    ):
        plan = make_plan(config, display)
        from pipeline.local import execution

        results = execution.execute(
            plan,
            processes=processes,
            display=display,
            interruption=interruption,
            log_file=log_file,
        )
        return results, plan.config


def _locks(config: PipelineConfig) -> dict[Path, str]:
    """Lock files of a run, and the error message if another run holds one."""
    locks = {config.local_folder / ".lock": f"--output: another run uses {config.local_folder}"}
    if config.metadata:
        lock = Path(f"{config.metadata}.lock")
        locks[lock] = f"--metadata: another run uses {config.metadata}"
    return locks


@contextlib.contextmanager
def _held(lock_file: Path, message: str) -> Iterator[None]:
    """Holds a lock file; the system lifts the lock when this process has ended.

    Raises:
      UserError: Another process holds it, or it cannot be written.
    """
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file.open("w")
    except OSError as error:
        flag = message.partition(":")[0]
        raise UserError(f"{flag}: cannot write to {error.filename}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{message}; wait for it, or give another place") from None
        yield


def _report(
    error: BaseException,
    interrupted: bool,
    config: PipelineConfig,
    console: Console,
    log_file: Path,
) -> int:
    """Says why a run ended early, and returns the exit code."""
    if interrupted or isinstance(error, KeyboardInterrupt):
        console.print(_INTERRUPTED_TEXT)
        return INTERRUPTED
    traceback.print_exception(error)
    sys.stderr.flush()
    mistake = user_error(error) or storage.disk_full(error, config.output)
    text = str(mistake or error) if mistake or isinstance(error, StageError) else one_line(error)
    console.print("[red]✗[/] ", end="")
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    if mistake is None:
        console.print("  A fault of ours or of this machine. What is finished is kept.")
    elif mistake.page:
        _keep_page(mistake, config.local_folder, console)
    console.print(f"  The whole log: {log_file}", highlight=False, soft_wrap=True)
    return FAILED


def _keep_page(mistake: UserError, folder: Path, console: Console) -> None:
    """Saves the page of an error, because TFX deletes the outputs of a failed stage."""
    file = folder / mistake.page_name
    with contextlib.suppress(OSError):  # the disk may be full, which the mistake says
        file.write_text(mistake.page)
        console.print(f"  All of it: {file}", highlight=False, soft_wrap=True, markup=False)
