"""Measures what the gate adds to a run: the same pipeline with its nodes and without them.

    python -m benchmarks.gate --data genres_original [--models cnn,lstm,musicnn,ensemble] [--jobs 2]

Both start from nothing and run in the same way, one after the other. What follows the judgement
(the push, and the record in MLflow) is in neither; time to start the program is not either.
"""

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from components.common import runtime
from components.common.errors import UserError
from pipeline.config import DEFAULT_MODELS, DataConfig, PipelineConfig
from pipeline.local import capacity, metadata_store
from pipeline.local.stage_process import StageProcesses

_GATE = (
    *("DeformedExamples", "Baseline", "Predictions", "ServingCheck", "Gate"),
    *("ModelSelector", "ReleaseReport"),
)
_AFTERWARDS = ("Pusher", "RunRecorder")


def main() -> int:
    """Runs the pipeline twice and prints both times."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of genre folders")
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B")
    parser.add_argument("--jobs", type=int, default=0, help="stages that run at a time")
    options = parser.parse_args()
    runtime.quieten()
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-gate-") as scratch:
            config = PipelineConfig(
                DataConfig(options.data),
                output=scratch,
                models=tuple(options.models.split(",")),
                jobs=options.jobs,
            )
            with runtime.importing():
                import pipeline.pipeline  # noqa: F401 - its time is not measured
            logging.disable(logging.WARNING)  # a run keeps them in its log
            with StageProcesses(scratch) as processes:
                processes.start(len, "").result()  # waits for its imports
                without = _seconds(config, f"{scratch}/without", processes, (*_GATE, *_AFTERWARDS))
                with_gate = _seconds(config, f"{scratch}/with", processes, _AFTERWARDS)
    except UserError as error:
        print(f"benchmarks.gate: {error}", file=sys.stderr)
        return 1
    print(
        f"{', '.join(config.models)}, {capacity.stages_at_once(config)} stages at a time: "
        f"{without:.0f} s without the gate, {with_gate:.0f} s with it, "
        f"{with_gate - without:.0f} s more"
    )
    return 0


def _seconds(
    config: PipelineConfig, output: str, processes: StageProcesses, left_out: tuple[str, ...]
) -> float:
    """Time of all stages but those whose names begin with one of `left_out`."""
    from components.example_gen.component import fingerprint
    from pipeline.local.stages import Observer, StageResult, run_stages
    from pipeline.pipeline import create_pipeline, ingest_settings

    config = dataclasses.replace(config, output=output)
    Path(output).mkdir()
    store = metadata_store.identity(config.metadata_file)
    dag = create_pipeline(
        config,
        data_fingerprint=fingerprint(config.data.folder, ingest_settings(config)),
        run_id="run",
        pipeline_root=f"{config.pipeline_root}/{store}",
        tracking_uri=f"sqlite:///{output}/mlflow.db",
    )

    class Seconds(Observer):
        def finished(self, result: StageResult) -> None:
            print(f"  {result.stage}: {result.seconds:.1f} s", file=sys.stderr)

    started = time.monotonic()
    run_stages(
        dag,
        executors=processes,
        observer=Seconds(),
        only=[node.id for node in dag.components if not node.id.startswith(left_out)],
        at_once=capacity.stages_at_once(config),
    )
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
