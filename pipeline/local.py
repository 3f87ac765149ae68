"""A run on this machine, from the data to the table at its end."""

import contextlib
import datetime
import fcntl
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from components import progress
from components.errors import UserError
from components.storage import is_remote
from pipeline import data, quiet, tracking_store
from pipeline.config import PipelineConfig
from pipeline.console import StageDisplay, screen_apart_from_log

if TYPE_CHECKING:  # imported where they are used: they bring TensorFlow
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.stages import StageResult
    from pipeline.tracking import Tracker

PUSHED, FAILED, NOT_BLESSED, INTERRUPTED = 0, 1, 2, 130

_interrupted = threading.Event()

_PLAIN_WIDTH = 120

# What each stage does, for people; ids with a model's name are looked up without it.
_LABELS = {
    "GtzanExampleGen": "decode, check and split the tracks",
    "StatisticsGen": "statistics of every split",
    "SchemaImport": "import schemas/gtzan.pbtxt",
    "StrictExampleValidator": "check the statistics against the schema",
    "Transform": "compute and standardise features",
    "Tuner": "search training settings",
    "Trainer": "train and export",
    "Evaluator": "judge on the test split",
    "ModelSelector": "choose the best blessed model",
    "Pusher": "push it for TF Serving",
}


def run(config: PipelineConfig, *, download: bool) -> int:
    """Runs the pipeline and shows a person how it goes.

    Args:
      config: The run.
      download: Whether GTZAN is to be fetched to the data folder first.

    Returns:
      The exit code: `PUSHED`, `NOT_BLESSED`, `FAILED` or `INTERRUPTED`.
    """
    started = datetime.datetime.now()
    log_file = config.local_folder / "logs" / f"{started:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
    except OSError as error:
        print(
            f"local_runner.py: --output: cannot write to {error.filename}: {error.strerror}",
            file=sys.stderr,
        )
        return FAILED
    _interrupted.clear()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is behind nohup
        signal.signal(signal.SIGINT, _interrupt)
    try:
        with _alone(config.local_folder), screen_apart_from_log(log_file) as screen:
            # Where nobody looks (a pipe, CI), lines must not break at 80 columns.
            console = Console(file=screen, width=None if screen.isatty() else _PLAIN_WIDTH)
            return _run(config, console=console, log_file=log_file, download=download)
    except BlockingIOError:
        print(
            f"local_runner.py: --output: another run is going on in {config.local_folder}; "
            "wait for it, or give another folder",
            file=sys.stderr,
        )
        return FAILED
    except BrokenPipeError:
        # Whoever read the output has gone, as `| head` does.
        return FAILED


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second run out of the folder; the system lifts the lock whenever this process ends.

    Raises:
      BlockingIOError: There is another.
    """
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _interrupt(*_: object) -> None:
    """Ends a run that is told to stop as Ctrl-C does, so that MLflow hears of it.

    It is remembered, because Beam wraps in an error of its own what is raised in its stages.
    """
    _interrupted.set()
    raise KeyboardInterrupt


def _run(config: PipelineConfig, *, console: Console, log_file: Path, download: bool) -> int:
    display = StageDisplay(console)
    try:
        with display, progress.listening(display.report):
            return _stages(config, console=console, display=display, download=download)
    except KeyboardInterrupt:
        return _say_interrupted(console)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        if _interrupted.is_set():
            return _say_interrupted(console)
        mistake = _user_error(error)
        if mistake is not None:
            console.print("[red]✗[/] ", end="")
            console.print(str(mistake), highlight=False, markup=False, soft_wrap=True)
            _keep_page(mistake, config.local_folder / "ingest.html", console)
        else:
            console.print("[red]✗[/] ", end="")
            text = f"{type(error).__name__}: {_first_line(error)}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
            console.print("  A fault of ours or of this machine. What is finished is kept.")
        console.print(f"  The whole log: {log_file}", highlight=False, soft_wrap=True)
        return FAILED


def _say_interrupted(console: Console) -> int:
    console.print("Interrupted. What is finished is kept: the same command goes on from there.")
    return INTERRUPTED


def _stages(
    config: PipelineConfig, *, console: Console, display: StageDisplay, download: bool
) -> int:
    tracking_store.check_reachable(tracking_store.tracking_uri(config))
    data.prepare(config, display=display, download=download)
    with display.stage("starting TensorFlow, Beam and TFX"):
        quiet.before_tensorflow()
        from components.batching import bound_batches_by_bytes
        from components.example_gen.component import fingerprint
        from pipeline import summary
        from pipeline.pipeline import create_pipeline, ingest_settings
        from pipeline.tracking import Tracker

        bound_batches_by_bytes()
        if is_remote(config.data.folder) or is_remote(config.output):
            from components import storage

            storage.open_object_stores(config.data.folder, config.output)
    with display.stage("looking for changes in the data"):
        found = fingerprint(config.data.folder, ingest_settings(config))
        dag = create_pipeline(config, data_fingerprint=found)
    with display.stage("opening the MLflow store"):
        tracker = Tracker(config, data_fingerprint=found)
    try:
        results = _run_watched(dag, display=display, tracker=tracker)
        outcome = summary.gather(results)
    except BaseException:
        tracker.failed()
        raise
    tracker.finished(chosen=outcome.chosen, pushed_to=outcome.pushed_to)
    summary.show(outcome, config=config, console=console)
    return PUSHED if outcome.pushed_to else NOT_BLESSED


def _run_watched(
    dag: "Pipeline", *, display: StageDisplay, tracker: "Tracker"
) -> "dict[str, StageResult]":
    """Runs the stages; the screen and MLflow hear of each."""
    from pipeline.stages import run_stages

    count = len(dag.components)
    width = max(len(component.id) for component in dag.components)
    positions: dict[str, int] = {}

    def label(stage: str) -> str:
        what = _LABELS[stage.partition("-")[0]]
        return f"{positions[stage]:>2}/{count} {stage:<{width}}  {what}"

    def watch(stage: str, position: int, _count: int) -> AbstractContextManager[None]:
        positions[stage] = position
        kind, _, model = stage.partition("-")
        if kind in ("Tuner", "Trainer"):
            tracker.branch_started(model)
        return display.stage(label(stage) if display.wide else label(stage).partition("  ")[0])

    def finished(result: "StageResult") -> None:
        note = "cached" if result.cached else f"{result.seconds:.0f} s"
        display.done(label(result.stage), note=note)
        kind, _, model = result.stage.partition("-")
        if kind == "Tuner":
            tracker.branch_tuned(model, result)
        elif kind == "Trainer":
            tracker.branch_trained(model, result)
        elif kind == "Evaluator":
            tracker.branch_judged(model, result)

    return run_stages(dag, watch=watch, finished=finished)


def _keep_page(mistake: UserError, place: Path, console: Console) -> None:
    """Saves the page that an error brings along: TFX removes what a failed stage has written."""
    page = getattr(mistake, "page", "")
    if page:
        place.write_text(page)
        console.print(f"  The report as a page: {place}", highlight=False, soft_wrap=True)


def _user_error(error: BaseException | None) -> UserError | None:
    """The user's mistake behind an error, however often it was wrapped on its way."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
