"""What a person sees while the pipeline runs: stages, progress bars, and no framework noise."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)


@contextlib.contextmanager
def screen_apart_from_log(log_file: Path) -> Iterator[TextIO]:
    """Sends everything that is printed in this process to a log file, except what is ours.

    TensorFlow, Beam and Google's clients write to the file descriptors themselves, from C++ as
    well as from Python, so the descriptors are what is redirected.

    Args:
      log_file: Appended to; its folder is made.

    Yields:
      The screen: what standard output was before.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    with log_file.open("a") as log, os.fdopen(os.dup(saved_out), "w") as screen:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield screen
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved_out, 1)
            os.dup2(saved_err, 2)
            os.close(saved_out)
            os.close(saved_err)


_WIDE = 120  # columns


class StageDisplay:
    """One line a stage. On a terminal it moves; elsewhere a line appears as a stage ends."""

    def __init__(self, console: Console) -> None:
        """Creates the display; `with display:` shows it.

        `wide` says whether a stage's description has room beside its bar and figures.
        """
        self._console = console
        self.wide = console.width >= _WIDE
        self._lock = threading.Lock()
        self._task: TaskID | None = None
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
            # What others print belongs to the log, where the descriptors lead; rich would otherwise
            # catch it before and show it above the bar.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "StageDisplay":
        """Starts the moving display."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it; the lines of finished stages stay."""
        self._progress.stop()

    @contextlib.contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Shows `label` as what is on, inside the `with` block."""
        with self._lock:
            self._task = self._progress.add_task(label, total=None, note="")
        try:
            yield
        finally:
            with self._lock:
                if self._task is not None:
                    self._progress.remove_task(self._task)
                self._task = None

    def report(self, activity: str, done: int, total: int | None) -> None:
        """Moves the bar of the stage that is on (a `components.progress` listener)."""
        with self._lock:
            if self._task is None:
                return
            of = f"{done}" if total is None else f"{done}/{total}"
            self._progress.update(self._task, completed=done, total=total, note=f"{of} {activity}")

    def done(self, label: str, *, note: str) -> None:
        """Leaves a line for a finished stage."""
        self._console.print(f"[green]✓[/] {label}  [dim]{note}[/]", highlight=False)
