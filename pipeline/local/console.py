"""The terminal during a run: stages and progress bars, without the output of libraries."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

_WIDE = 120  # columns


@contextlib.contextmanager
def screen_apart_from_log(log_file: Path) -> Iterator[TextIO]:
    """Redirects all output of this process to a log file, except what is written to the screen.

    TensorFlow, Beam and Google's clients also write to the file descriptors from C++, so the
    descriptors are redirected.

    Args:
      log_file: File to append to; its folder is created.

    Yields:
      The screen: the original standard output.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        log_file.open("a") as log,
        os.fdopen(os.dup(1), "w") as screen,
        os.fdopen(os.dup(2), "w") as errors,
    ):
        _redirect(log, log)
        try:
            yield screen
        finally:
            _redirect(screen, errors)


def _redirect(output: TextIO, errors: TextIO) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)


class StageDisplay:
    """Shows running stages: a progress bar on terminals, elsewhere a line at a stage's start.

    Stages may run at the same time, each in a thread of its own.
    """

    def __init__(self, console: Console) -> None:
        """Creates the display; `with display:` shows it.

        `wide` says whether a stage's description has room beside its bar and figures.
        """
        self._console = console
        self.wide = console.width >= _WIDE
        self._lock = threading.Lock()
        self._tasks: dict[int, TaskID] = {}  # by thread
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24 if self.wide else 8),
            TaskProgressColumn(text_format="{task.percentage:>3.0f}%", show_speed=False),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            # Output of libraries belongs in the log; rich would show it above the bar.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "StageDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Shows `label` as a running stage, inside the `with` block."""
        thread = threading.get_ident()
        with self._lock:
            task = self._tasks[thread] = self._progress.add_task(escape(label), total=None, note="")
        if not self._console.is_terminal:
            with contextlib.suppress(OSError):  # whoever read the lines has gone
                self._console.print(f"[dim]… {escape(label)}[/]", highlight=False)
        try:
            yield
        finally:
            with self._lock:
                self._progress.remove_task(task)
                del self._tasks[thread]

    def report(self, activity: str, done: int, total: int | None) -> None:
        """Updates a running stage's bar (a `components.common.progress` listener).

        The stage is the one of the thread that calls, or the only one that runs.
        """
        with self._lock:
            task = self._tasks.get(threading.get_ident())
            if task is None and len(self._tasks) == 1:
                (task,) = self._tasks.values()
            if task is None:
                return
            of = f"{done}" if total is None else f"{done}/{total}"
            self._progress.update(
                task, completed=done, total=total, note=escape(f"{of} {activity}")
            )

    def done(self, label: str, *, note: str) -> None:
        """Prints the line of a finished stage."""
        self._console.print(f"[green]✓[/] {escape(label)}  [dim]{escape(note)}[/]", highlight=False)

    def failed(self, label: str) -> None:
        """Prints the line of a stage that failed; the reason follows once no stage runs."""
        self._console.print(f"[red]✗[/] {escape(label)}  [dim]failed[/]", highlight=False)
