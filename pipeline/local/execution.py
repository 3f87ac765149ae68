"""Executes a plan: its stages on the screen, its run in MLflow, Beam's job server beside them."""

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

import psutil
from absl import logging
from google.protobuf.message import Message
from tfx.orchestration.portable.data_types import ExecutionInfo

from components.common.errors import UserError
from pipeline import beam_runners
from pipeline.config import PipelineConfig
from pipeline.flink import job_server
from pipeline.local import mlflow_store, tracking
from pipeline.local.console import StageDisplay
from pipeline.local.interruption import Interruption
from pipeline.local.planning import Plan
from pipeline.local.stage_process import StageError, StageProcesses
from pipeline.local.stages import Executed, Observer, StageResult, run_stages

_SECONDS_TO_RECORD_A_FAILURE = 15
# A stage takes up to 5 GiB (docs/notes/measurements.md), and the rest of the machine some.
_BYTES_FOR_TWO = 12 << 30
_GPU = Path("/dev/nvidia0")

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
    "TrainingCopies": "copy the training tracks with MP3, noise, rooms …",
    "DeformedExamples": "deform the test tracks as serving meets them",
    "Baseline": "fit the baseline that networks must beat",
    "Predictions": "answer the test tracks, clean and deformed",
    "ServingCheck": "serve it and send real requests",
    "InfraValidator": "load it in TF Serving",
    "Gate": "judge every model, also against production",
    "ReleaseReport": "write the evidence",
    "ModelSelector": "choose the best blessed model",
    "Pusher": "push it for TF Serving",
    "RunRecorder": "record the run in MLflow",
}


def execute(
    plan: Plan,
    *,
    processes: StageProcesses,
    display: StageDisplay,
    interruption: Interruption,
    log_file: Path,
) -> dict[str, StageResult]:
    """Runs every stage of a plan.

    Args:
      plan: What to run.
      processes: Run the executors.
      display: Shows the stages.
      interruption: Ends them.
      log_file: The run's; times and memory of the stages are written beside it.

    Returns:
      Results by node id.
    """
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_store.tracking_uri(plan.config)
    with (
        _mlflow_run(plan, processes) as opening,
        _beam_engine(plan, display, log_file.with_suffix(".flink.log")),
    ):
        if plan.store_is_new:
            with display.stage("opening the MLflow store"):
                opening.result()

        def execute(spec: Message, execution: ExecutionInfo) -> Executed:
            opening.result()
            return processes.execute(spec, execution)

        def stop() -> None:
            interruption.ignore()
            processes.stop()

        results = run_stages(
            plan.dag,
            execute=execute,
            stop=stop,
            observer=_Lines(plan, display, interruption),
            run_id=plan.run_id,
            at_once=stages_at_once(plan.config),
            check=interruption.check,
        )
    with contextlib.suppress(OSError):  # a full disk does not fail what has been pushed
        _save_stages(results, log_file.with_suffix(".json"))
    return results


def stages_at_once(config: PipelineConfig) -> int:
    """Most stages at a time: `config.jobs`, or what the machine has room for, one or two.

    One where the machine has one core, less than 12 GiB of memory or a GPU, which TensorFlow takes
    whole, and where Beam itself runs several processes.
    """
    if config.jobs:
        return config.jobs
    several_processes = config.beam.runner != "direct" or config.beam.workers > 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    enough = (cores or 1) > 1 and psutil.virtual_memory().total >= _BYTES_FOR_TWO
    return 2 if enough and not several_processes and not _GPU.exists() else 1


@contextlib.contextmanager
def _mlflow_run(plan: Plan, processes: StageProcesses) -> Iterator["Future[None]"]:
    """Opens MLflow's run in the background, and marks it as failed if the stages end in an error.

    MLflow takes seconds to open, in which stages that are cached are found.
    """
    opening = processes.start(
        tracking.open_run, plan.config, plan.data_fingerprint, plan.run_id, plan.store
    )
    try:
        yield opening
        opening.result()  # also if everything was cached
    except BaseException:
        try:
            opening.result(_SECONDS_TO_RECORD_A_FAILURE)
            failing = processes.start(tracking.fail_run, plan.config, plan.run_id)
            failing.result(_SECONDS_TO_RECORD_A_FAILURE)
        except (StageError, UserError, FutureTimeoutError) as error:
            logging.warning("MLflow does not know that this run failed: %r", error)
        raise


@contextlib.contextmanager
def _beam_engine(plan: Plan, display: StageDisplay, log_file: Path) -> Iterator[None]:
    """Runs Beam's job server while the stages need it; they find it by their environment."""
    if not plan.config.beam.needs_job_server:
        yield
        return
    with contextlib.ExitStack() as stack:
        with display.stage("starting Beam's job server for Flink"):
            server = job_server.job_server(log_file, flink_master=plan.config.beam.flink_master)
            os.environ[beam_runners.JOB_ENDPOINT] = stack.enter_context(server)
        yield


class _Lines(Observer):
    """Shows each stage with its position, and how it ended."""

    def __init__(self, plan: Plan, display: StageDisplay, interruption: Interruption) -> None:
        self._display = display
        self._interruption = interruption
        stages = [component.id for component in plan.dag.components]
        width = max(map(len, stages))
        self._labels = {
            stage: f"{position:>2}/{len(stages)} {stage:<{width}}  "
            + _LABELS.get(stage.partition("-")[0], "")
            for position, stage in enumerate(stages, start=1)
        }

    @contextlib.contextmanager
    def running(self, stage: str) -> Iterator[None]:
        label = self._labels[stage]
        with self._display.stage(label if self._display.wide else label.partition("  ")[0]):
            try:
                yield
            except Exception:
                if not self._interruption.requested:
                    self._display.failed(label)
                raise

    def finished(self, result: StageResult) -> None:
        note = "cached" if result.cached else f"{result.seconds:.0f} s"
        self._display.done(self._labels[result.stage], note=note)


def _save_stages(results: dict[str, StageResult], file: Path) -> None:
    """Writes how long each stage took and how much memory it held, for `benchmarks.run`."""
    rows = [
        {name: value for name, value in vars(result).items() if name != "outputs"}
        for result in results.values()
    ]
    file.write_text(json.dumps(rows, indent=2))
