"""A run on this machine, from the data to the table at its end."""

import datetime
import os
import sys
import traceback
from pathlib import Path

from rich.console import Console

from components import progress
from components.errors import UserError
from pipeline import data
from pipeline.config import PipelineConfig, is_remote
from pipeline.console import StageDisplay, screen_apart_from_log

PUSHED, FAILED, NOT_BLESSED, INTERRUPTED = 0, 1, 2, 130

# What each stage does, for people; ids with a model's name are looked up without it.
_LABELS = {
    "GtzanExampleGen": "decode, check and split the tracks",
    "StatisticsGen": "statistics of every split",
    "SchemaImport": "import schemas/gtzan.pbtxt",
    "StrictExampleValidator": "check the statistics against the schema",
    "Transform": "compute and standardise features",
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
        with screen_apart_from_log(log_file) as screen:
            console = Console(file=screen)
            return _run(config, console=console, log_file=log_file, download=download)
    except OSError as error:
        print(f"local_runner.py: --output: cannot write to {error.filename}: {error.strerror}")
        return FAILED


def _run(config: PipelineConfig, *, console: Console, log_file: Path, download: bool) -> int:
    display = StageDisplay(console)
    try:
        with display, progress.listening(display.report):
            return _stages(config, console=console, display=display, download=download)
    except KeyboardInterrupt:
        console.print("Interrupted. What is finished is kept: the same command goes on from there.")
        return INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        mistake = _user_error(error)
        if mistake is not None:
            console.print(f"[red]✗[/] {mistake}", highlight=False, markup=False)
        else:
            console.print(f"[red]✗[/] {type(error).__name__}: {_first_line(error)}", markup=True)
            console.print("  This is not your mistake. What is finished is kept.", highlight=False)
        console.print(f"  The whole log: {log_file}", highlight=False, soft_wrap=True)
        return FAILED


def _stages(
    config: PipelineConfig, *, console: Console, display: StageDisplay, download: bool
) -> int:
    data.prepare(config, display=display, download=download)
    with display.stage("starting TensorFlow, Beam and TFX"):
        from pipeline import quiet

        quiet.before_tensorflow()
        from components.example_gen.fingerprint import fingerprint as data_fingerprint

        from pipeline.pipeline import create_pipeline
        from pipeline import summary
        from pipeline.stages import StageResult, run_stages

        if is_remote(config.data.folder) or is_remote(config.output):
            from components import storage

            storage.open_object_stores(config.data.folder, config.output)
    with display.stage("looking for changes in the data"):
        found = fingerprint(config.data.folder, ingest_settings(config))
        dag = create_pipeline(config, data_fingerprint=found)

    count = len(dag.components)
    width = max(len(component.id) for component in dag.components)
    positions: dict[str, int] = {}

    def label(stage: str) -> str:
        what = _LABELS[stage.partition("-")[0]]
        return f"{positions[stage]:>2}/{count} {stage:<{width}}  {what}"

    def watch(stage: str, position: int, _: int):  # type: ignore[no-untyped-def]
        positions[stage] = position
        return display.stage(label(stage))

    def finished(result: StageResult) -> None:
        note = "cached" if result.cached else f"{result.seconds:.0f} s"
        display.done(label(result.stage), note=note)

    results = run_stages(dag, watch=watch, finished=finished)
    with display.stage("gathering the figures"):
        outcome = summary.gather(results)
    summary.show(outcome, config=config, console=console)
    return PUSHED if outcome.pushed_to else NOT_BLESSED


def _user_error(error: BaseException | None) -> UserError | None:
    """The user's mistake behind an error, however often it was wrapped on its way."""
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
