"""A stage runs in a process of its own: what passes back, and what happens when it dies."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from tfx import v1 as tfx
from tfx.types import standard_artifacts

from components.common import progress
from components.common.errors import UserError
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import metadata_store
from pipeline.local.runner import _ending, _interruptible
from pipeline.local.stage_process import StageError, StageProcesses
from pipeline.local.stages import StageResult, run_stages
from pipeline.pipeline import create_pipeline
from tests.example_gen.conftest import write_music


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    # Spawned, as other tests may have used TensorFlow in this process.
    place = str(tmp_path_factory.mktemp("anywhere"))
    with StageProcesses(place, start_method="spawn") as stages:
        yield stages


def ingest(stages: StageProcesses, music, output) -> dict:
    config = PipelineConfig(data=DataConfig(str(music)), output=str(output), models=("cnn",))
    metadata_store.identity(config.metadata_file)
    return run_stages(
        create_pipeline(config, data_fingerprint=str(time.time()), run_id="run"),
        execute=stages.execute,
        watch=lambda *_: contextlib.nullcontext(),
        finished=lambda _: None,
        last="GtzanExampleGen",
    )


def test_progress_and_results_come_back(stages, tmp_path):
    music = write_music(tmp_path / "music")
    reports = []
    with progress.listening(lambda *event: reports.append(event)):
        results = ingest(stages, music, tmp_path / "out")
    assert results["GtzanExampleGen"].outputs["ingest_report"][0].properties["tracks"] == 50
    assert ("tracks examined", 50, 50) in reports
    assert results["GtzanExampleGen"].peak_bytes > 100e6


def test_a_users_mistake_comes_back_as_one_with_its_page(stages, tmp_path):
    music = write_music(tmp_path / "music", per_genre=1)
    with pytest.raises(UserError, match="no track in the") as mistake:
        ingest(stages, music, tmp_path / "out")
    assert "<html" in mistake.value.page


def stage_processes() -> list[psutil.Process]:
    """The children of the server that forks stages."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # some end while they are looked at
            if any("multiprocessing.spawn" in word for word in child.cmdline()):
                found += child.children()
    return found


def test_a_stage_that_is_killed_is_said_to_have_been(stages, tmp_path):
    music = write_music(tmp_path / "music")

    def kill() -> None:
        while not (found := stage_processes()):
            time.sleep(0.05)
        found[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StageError, match="was killed: was there enough memory"):
        ingest(stages, music, tmp_path / "out")
    killer.join()
    results = ingest(stages, music, tmp_path / "out")  # and the next run works
    assert results["GtzanExampleGen"].outputs


def test_two_run_at_a_time_and_one_that_fails_is_told_by_the_future(stages, tmp_path):
    """Each waits for the file that the other one writes."""
    files = [str(tmp_path / name) for name in ("one", "other")]
    futures = [stages.start(write_and_wait, *each) for each in (files, reversed(files))]
    assert [future.result(120) for future in futures] == [files[0], files[1]]
    with pytest.raises(StageError, match="FileNotFoundError"):
        stages.start(os.listdir, str(tmp_path / "missing")).result(120)


def write_and_wait(mine: str, others: str) -> str:
    Path(mine).touch()
    while not Path(others).exists():
        time.sleep(0.01)
    return mine


@tfx.dsl.components.component
def meeting(
    model: tfx.dsl.components.OutputArtifact[standard_artifacts.Model],
    mine: tfx.dsl.components.Parameter[str],
    others: tfx.dsl.components.Parameter[str],
):
    """A node that ends once another one runs."""
    write_and_wait(mine, others)
    if others.endswith("later"):
        raise ValueError("a fault")


def test_stages_run_beside_each_other_and_one_that_fails_costs_the_other_nothing(stages, tmp_path):
    def run() -> list[StageResult]:
        finished: list[StageResult] = []
        nodes = [
            meeting(mine=str(tmp_path / mine), others=str(tmp_path / others)).with_id(mine)
            for mine, others in (("sooner", "later"), ("later", "sooner"))
        ]
        file = str(tmp_path / "metadata.db")
        with pytest.raises(StageError, match="ValueError: a fault"):
            run_stages(
                tfx.dsl.Pipeline(
                    "two",
                    str(tmp_path / "pipeline"),
                    components=nodes,
                    enable_cache=True,
                    metadata_connection_config=(
                        tfx.orchestration.metadata.sqlite_metadata_connection_config(file)
                    ),
                ),
                execute=stages.execute,
                watch=lambda *_: contextlib.nullcontext(),
                finished=finished.append,
                at_once=2,
                stop=stages.stop,
            )
        return finished

    (first,), (again,) = run(), run()
    assert (first.stage, first.cached) == ("later", False)
    assert again.cached and again.outputs == first.outputs


def test_sigterm_is_ctrl_c_until_the_run_has_ended():
    with _interruptible():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # the signal comes between two instructions
        _ending.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
