"""A stage runs in a process of its own: what passes back, and what happens when it ends early.

What a run makes of it (signals, mistakes, the cache) is in test_runner.py.
"""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from components.common import progress
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import stage_process
from pipeline.local.stage_process import StageError, StageProcesses
from pipeline.local.stages import run_stages
from tests.pipeline.local import stub_nodes
from tests.pipeline.local.conftest import wait_until


@pytest.fixture
def processes(tmp_path):
    with StageProcesses(str(tmp_path)) as processes:
        yield processes


def write_and_wait(mine: str, others: str, deaf: bool = False) -> str:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(mine).write_text(str(os.getpid()))
    while not Path(others).exists():
        time.sleep(0.01)
    return mine


def started(file: Path) -> psutil.Process:
    wait_until(lambda: file.exists() and file.read_text())
    return psutil.Process(int(file.read_text()))


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_progress_environment_and_results_come_back(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("SET_LATER", "yes")
    assert processes.start(os.getenv, "SET_LATER").result(120) == "yes"
    (tmp_path / "orders").mkdir()
    config = PipelineConfig(DataConfig("music"), output=str(tmp_path))
    dag = stub_nodes.create_pipeline(config, orders=str(tmp_path / "orders"), setting="")
    reports = []
    with progress.listening(lambda *event: reports.append(event)):
        results = run_stages(dag, execute=processes.execute, stop=processes.stop)
    assert ("steps", 1, 2) in reports
    assert results["Work"].outputs["model"] and results["Work"].peak_bytes > 1e6
    (executed_by,) = (tmp_path / "orders" / "Work.executed").read_text().split()
    assert int(executed_by) != os.getpid()


def test_a_process_that_ends_early_is_told_by_how_it_ended(processes, tmp_path):
    with pytest.raises(StageError, match="was killed: was there enough memory"):
        processes.start(kill_this_process).result(120)
    with pytest.raises(StageError, match="exit code 3"):
        processes.start(os._exit, 3).result(120)
    with pytest.raises(StageError, match="FileNotFoundError"):
        processes.start(os.listdir, str(tmp_path / "missing")).result(120)
    assert processes.start(len, "abc").result(120) == 3


def test_without_the_fork_server_its_processes_end_and_the_next_one_has_a_new_server(
    processes, tmp_path
):
    file = tmp_path / "pid"
    future = processes.start(write_and_wait, str(file), str(tmp_path / "never"))
    process = started(file)
    process.parent().kill()
    with pytest.raises(StageError, match="starts the stages was killed"):
        future.result(60)
    wait_until(lambda: not process.is_running(), 10)
    assert processes.start(len, "abc").result(300) == 3


def test_a_process_that_hears_no_signal_is_killed_with_its_runner_s_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_process, "_SECONDS_TO_OBEY", 0.5)
    file = tmp_path / "pid"
    with StageProcesses() as processes:
        future = processes.start(write_and_wait, str(file), str(tmp_path / "never"), True)
        process = started(file)
    with pytest.raises(StageError, match="was killed"):
        future.result(60)
    assert not process.is_running()


def test_stop_and_ctrl_c_spare_what_is_no_stage(processes, tmp_path):
    """A terminal sends Ctrl-C to every process of its group; it is for the runner."""
    file = tmp_path / "pid"
    future = processes.start(write_and_wait, str(file), str(tmp_path / "end"))
    started(file).send_signal(signal.SIGINT)
    processes.stop()
    (tmp_path / "end").touch()
    assert future.result(60) == str(file)
