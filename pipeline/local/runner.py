"""Runs the pipeline on this machine, from preparing the data to the table at the end."""

import contextlib
import datetime
import fcntl
import json
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from absl import logging
from rich.console import Console
from rich.markup import escape

from components.common import progress, runtime, storage
from components.common.errors import UserError, user_error
from components.common.storage import is_remote
from pipeline import beam_checks, beam_runners, genres
from pipeline.config import PipelineConfig
from pipeline.flink import job_server
from pipeline.local import capacity, music, tracking_store
from pipeline.local.console import StageDisplay, screen_apart_from_log
from pipeline.local.stage_process import StageError, StageProcesses, one_line

if TYPE_CHECKING:  # imported where they are used: they bring TensorFlow
    from google.protobuf.message import Message
    from tfx.orchestration.pipeline import Pipeline
    from tfx.orchestration.portable.data_types import ExecutionInfo

    from pipeline.local.stages import Executed, StageResult

PUSHED, FAILED, NOT_BLESSED, INTERRUPTED = 0, 1, 2, 130

_interrupted = threading.Event()
_ending = threading.Event()

_PLAIN_WIDTH = 120
_SECONDS_TO_LET_GO = 10
_INTERRUPTED_TEXT = "Interrupted. What is finished is kept: the same command goes on from there."

# What each stage does, for people; ids with a model's name are looked up without it.
_LABELS = {
    "GtzanExampleGen": "decode, check and split the tracks",
    "StatisticsGen": "statistics of every split",
    "SchemaImport": "import schemas/gtzan.pbtxt",
    "StrictExampleValidator": "check the statistics against the schema",
    "Transform": "compute and standardise features",
    "Tuner": "search training settings",
    "Trainer": "train and export",
    "Evaluator": "measure on the test split",
    "DeformedExamples": "deform the test tracks as serving meets them",
    "Baseline": "fit the simple peer that networks must beat",
    "Predictions": "answer the test tracks, clean and deformed",
    "ServingCheck": "serve it and send real requests",
    "InfraValidator": "load it in TF Serving",
    "Gate": "judge every model, also against production",
    "ReleaseReport": "write the evidence",
    "ModelSelector": "choose the best blessed model",
    "Pusher": "push it for TF Serving",
    "RunRecorder": "record the run in MLflow",
}


def run(config: PipelineConfig, *, download: bool) -> int:
    """Runs the pipeline and shows its progress.

    Args:
      config: The run.
      download: Whether GTZAN is to be fetched to the data folder first.

    Returns:
      The exit code: `PUSHED`, `NOT_BLESSED`, `FAILED` or `INTERRUPTED`.

    Raises:
      UserError: MLflow's server does not answer, or its URI is none. Nothing was written then.
    """
    tracking_store.check_reachable(tracking_store.tracking_uri(config))
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
    with _interruptible():
        try:
            with contextlib.ExitStack() as stack:
                for lock_file, taken in _places(config).items():
                    stack.enter_context(_alone(lock_file, taken))
                screen = stack.enter_context(screen_apart_from_log(log_file))
                # In a pipe or CI, lines must not break at 80 columns.
                console = Console(file=screen, width=None if screen.isatty() else _PLAIN_WIDTH)
                return _run(config, console=console, log_file=log_file, download=download)
        except UserError as error:
            print(f"local_runner.py: {error}", file=sys.stderr)
            return FAILED
        except BrokenPipeError:
            # Whoever read the output has gone, as `| head` does.
            return FAILED
        except KeyboardInterrupt:
            # It came before the first stage, or while the screen was given back.
            print(_INTERRUPTED_TEXT)
            return INTERRUPTED


def _places(config: PipelineConfig) -> dict[Path, str]:
    """Lock files of a run, and the error message if another run holds one."""
    places = {config.local_folder / ".lock": f"--output: another run uses {config.local_folder}"}
    if config.metadata:
        lock = config.metadata_file.with_name(f"{config.metadata_file.name}.lock")
        places[lock] = f"--metadata: another run uses {config.metadata_file}"
    return places


@contextlib.contextmanager
def _alone(lock_file: Path, taken: str) -> Iterator[None]:
    """Holds a lock file; the system lifts the lock when this process and its stages have ended.

    Raises:
      UserError: Another process holds it, or it cannot be written.
    """
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file.open("w")
    except OSError as error:
        raise UserError(f"cannot write to {error.filename}: {error.strerror}") from error
    with lock:
        # The stages of a run that was killed take a moment to notice it.
        deadline = time.monotonic() + _SECONDS_TO_LET_GO
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise UserError(f"{taken}; wait for it, or give another place")
            time.sleep(0.1)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes SIGTERM end a run as Ctrl-C does, so that MLflow runs are closed.

    The first signal raises `KeyboardInterrupt`; it is also remembered, because Beam wraps
    exceptions in its own. Signals that arrive while the run ends are ignored.
    """

    def interrupt(*_: object) -> None:
        _interrupted.set()
        if not _ending.is_set():
            raise KeyboardInterrupt

    _interrupted.clear()
    _ending.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is behind nohup
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        _ending.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(config: PipelineConfig, *, console: Console, log_file: Path, download: bool) -> int:
    display = StageDisplay(console)
    try:
        with display, progress.listening(display.report):
            return _stages(
                config,
                console=console,
                display=display,
                download=download,
                stages_file=log_file.with_suffix(".json"),
            )
    except KeyboardInterrupt:
        _ending.set()
        return _say_interrupted(console)
    except Exception as error:
        _ending.set()
        traceback.print_exc()
        sys.stderr.flush()
        if _interrupted.is_set():
            return _say_interrupted(console)
        mistake = user_error(error) or storage.disk_full(error, config.output)
        if mistake is not None:
            console.print("[red]✗[/] ", end="")
            console.print(str(mistake), highlight=False, markup=False, soft_wrap=True)
            _keep_page(mistake, config.local_folder, console)
        else:
            console.print("[red]✗[/] ", end="")
            text = str(error) if isinstance(error, StageError) else one_line(error)
            console.print(text, highlight=False, markup=False, soft_wrap=True)
            console.print("  A fault of ours or of this machine. What is finished is kept.")
        console.print(f"  The whole log: {log_file}", highlight=False, soft_wrap=True)
        return FAILED


def _say_interrupted(console: Console) -> int:
    console.print(_INTERRUPTED_TEXT)
    return INTERRUPTED


def _stages(
    config: PipelineConfig,
    *,
    console: Console,
    display: StageDisplay,
    download: bool,
    stages_file: Path,
) -> int:
    beam_checks.check_reachable(config.beam)
    runtime.quieten()
    config = music.prepare(config, display=display, download=download)
    with contextlib.ExitStack() as stack:
        with display.stage("starting TensorFlow, Beam and TFX"):
            with runtime.importing():
                from components.example_gen.component import fingerprint
                from pipeline.local import metadata_store, summary, tracking
                from pipeline.pipeline import create_pipeline, ingest_settings

            # Before anything starts threads in this process, which a fork would not copy.
            stages = stack.enter_context(StageProcesses(config.data.folder, config.output))
            if is_remote(config.data.folder) or is_remote(config.output):
                storage.open_object_stores(config.data.folder, config.output)
                config = genres.resolve_remote(config)
        with display.stage("looking for changes in the data"):
            data_fingerprint = fingerprint(config.data.folder, ingest_settings(config))
            anything_cached = config.metadata_file.is_file()
            store = metadata_store.identity(config.metadata_file)
            run_id = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
            dag = create_pipeline(
                config,
                data_fingerprint=data_fingerprint,
                run_id=run_id,
                pipeline_root=f"{config.pipeline_root}/{store}",
                tracking_uri=tracking_store.tracking_uri(config),
            )
        # MLflow takes seconds to open, in which stages that are cached are found.
        opening = stages.start(tracking.open_run, config, data_fingerprint, run_id)
        os.environ["MLFLOW_TRACKING_URI"] = tracking_store.tracking_uri(config)
        try:
            if not anything_cached:
                with display.stage("opening the MLflow store"):
                    opening.result()
            log = stages_file.with_suffix(".flink.log")
            with _beam_engine(config, display=display, log_file=log):
                results = _run_watched(
                    dag,
                    stages=stages,
                    opening=opening,
                    display=display,
                    run_id=run_id,
                    at_once=capacity.stages_at_once(config),
                )
            with contextlib.suppress(OSError):  # a full disk does not fail what has been pushed
                _save_stages(results, stages_file)
            outcome = summary.gather(results)
        except BaseException:
            _record_failure(config, stages=stages, opening=opening, run_id=run_id)
            raise
    _ending.set()  # whatever signal comes now, the run has its outcome
    summary.show(outcome, config=config, console=console)
    if shortcomings := tracking.shortcomings(results["RunRecorder"]):
        console.print()
        for line in shortcomings:
            console.print(f"[yellow]![/] {escape(line)}", highlight=False, soft_wrap=True)
    return PUSHED if outcome.pushed_to else NOT_BLESSED


def _record_failure(
    config: PipelineConfig, *, stages: StageProcesses, opening: "Future[None]", run_id: str
) -> None:
    """Tells MLflow that the run failed, in a process that has imported it."""
    from pipeline.local import tracking

    if opening.exception() is None:
        try:
            stages.run(tracking.fail_run, config, run_id)
        except StageError as error:
            logging.warning("MLflow does not know that this run failed: %s", error)


@contextlib.contextmanager
def _beam_engine(
    config: PipelineConfig, *, display: StageDisplay, log_file: Path
) -> Iterator[None]:
    """Runs Beam's job server while the stages need it; they find it by their environment."""
    if not config.beam.needs_job_server:
        yield
        return
    with contextlib.ExitStack() as stack:
        with display.stage("starting Beam's job server for Flink"):
            server = job_server.job_server(log_file, flink_master=config.beam.flink_master)
            os.environ[beam_runners.JOB_ENDPOINT] = stack.enter_context(server)
        yield


def _run_watched(
    dag: "Pipeline",
    *,
    stages: StageProcesses,
    opening: "Future[None]",
    display: StageDisplay,
    run_id: str,
    at_once: int,
) -> "dict[str, StageResult]":
    """Runs the stages and shows each; none is executed before MLflow's store is open."""
    from pipeline.local.stages import run_stages

    count = len(dag.components)
    width = max(len(component.id) for component in dag.components)
    positions: dict[str, int] = {}

    def label(stage: str) -> str:
        what = _LABELS[stage.partition("-")[0]]
        return f"{positions[stage]:>2}/{count} {stage:<{width}}  {what}"

    @contextlib.contextmanager
    def watch(stage: str, position: int, _count: int) -> Iterator[None]:
        if _interrupted.is_set():  # a library swallowed the exception
            raise KeyboardInterrupt
        positions[stage] = position
        with display.stage(label(stage) if display.wide else label(stage).partition("  ")[0]):
            try:
                yield
            except Exception:
                if not _interrupted.is_set():
                    display.failed(label(stage))
                raise

    def finished(result: "StageResult") -> None:
        note = "cached" if result.cached else f"{result.seconds:.0f} s"
        display.done(label(result.stage), note=note)

    def execute(spec: "Message", execution: "ExecutionInfo") -> "Executed":
        opening.result()
        return stages.execute(spec, execution)

    return run_stages(
        dag,
        execute=execute,
        watch=watch,
        finished=finished,
        run_id=run_id,
        at_once=at_once,
        alone=capacity.runs_alone,
        stop=stages.stop,
    )


def _save_stages(results: "dict[str, StageResult]", file: Path) -> None:
    """Writes how long each stage took and how much memory it held, for `benchmarks.run`."""
    rows = [
        {
            "stage": stage,
            "cached": result.cached,
            "seconds": round(result.seconds, 2),
            "processor_seconds": round(result.processor_seconds, 2),
            "peak_bytes": result.peak_bytes,
        }
        for stage, result in results.items()
    ]
    file.write_text(json.dumps(rows, indent=2))


def _keep_page(mistake: UserError, folder: Path, console: Console) -> None:
    """Saves the page of an error, because TFX deletes the outputs of a failed stage."""
    if mistake.page:
        place = folder / mistake.page_name
        try:
            place.write_text(mistake.page)
        except OSError:  # the disk may be full, which the mistake says
            return
        console.print(f"  All of it: {place}", highlight=False, soft_wrap=True, markup=False)
