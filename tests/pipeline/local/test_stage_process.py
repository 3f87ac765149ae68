"""A stage runs in a process of its own: what passes back, and what happens when it ends early."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Model

from components.common import progress
from components.common.errors import UserError
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import stage_process
from pipeline.local.stage_process import StageError, StageProcesses
from pipeline.local.stages import Observer, StageResult, run_stages
from tests.pipeline.local import stub_nodes
from tests.pipeline.local.conftest import wait_until


@pytest.fixture
def processes(tmp_path):
    with StageProcesses(str(tmp_path)) as processes:
        yield processes


@pytest.fixture
def orders(tmp_path) -> Path:
    folder = tmp_path / "orders"
    folder.mkdir()
    return folder


def stub_dag(tmp_path, orders: Path) -> Pipeline:
    config = PipelineConfig(DataConfig("music"), output=str(tmp_path / "out"))
    (tmp_path / "out").mkdir(exist_ok=True)
    return stub_nodes.create_pipeline(config, orders=str(orders), setting="")


class Finished(Observer):
    def __init__(self) -> None:
        self.results: list[StageResult] = []

    def finished(self, result: StageResult) -> None:
        self.results.append(result)


def test_progress_environment_and_results_come_back(processes, tmp_path, orders, monkeypatch):
    monkeypatch.setenv("SAID_LATER", "yes")
    assert processes.start(os.getenv, "SAID_LATER").result(120) == "yes"
    reports = []
    with progress.listening(lambda *event: reports.append(event)):
        results = run_stages(stub_dag(tmp_path, orders), executors=processes)
    assert ("steps", 1, 2) in reports
    assert results["Work"].outputs["model"] and results["Work"].peak_bytes > 1e6
    (executed_by,) = (orders / "Work.executed").read_text().split()
    assert int(executed_by) != os.getpid()


def test_a_users_mistake_comes_back_as_one_with_its_page(processes, tmp_path, orders):
    (orders / "Import.mistake").touch()
    with pytest.raises(UserError, match="wrong music") as mistake:
        run_stages(stub_dag(tmp_path, orders), executors=processes)
    assert (mistake.value.page, mistake.value.page_name) == ("<html>all of it", "ingest.html")


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


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
    wait_until(lambda: file.exists() and file.read_text())
    process = psutil.Process(int(file.read_text()))
    process.parent().kill()
    with pytest.raises(StageError, match="starts the stages was killed"):
        future.result(60)
    wait_until(lambda: not process.is_running(), 10)
    assert processes.start(len, "abc").result(300) == 3


def ignore_signals(file: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def test_a_process_that_hears_no_signal_is_killed_with_its_runner_s_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_process, "_SECONDS_TO_OBEY", 0.5)
    file = tmp_path / "pid"
    with StageProcesses() as processes:
        future = processes.start(ignore_signals, str(file))
        wait_until(lambda: file.exists() and file.read_text())
    with pytest.raises(StageError, match="was killed"):
        future.result(60)
    assert not psutil.pid_exists(int(file.read_text()))


def test_stop_ends_stages_starts_no_other_and_spares_the_rest(processes, tmp_path, orders):
    for order in ("Import.wait", "Import.loses-an-interrupt"):
        (orders / order).touch()
    file = tmp_path / "pid"
    beside = processes.start(write_and_wait, str(file), str(tmp_path / "end"))

    def interrupt() -> None:
        if (orders / "Import.executed").exists() and file.exists():
            raise KeyboardInterrupt

    dag = stub_dag(tmp_path, orders)
    with pytest.raises(KeyboardInterrupt):
        run_stages(dag, executors=processes, check=interrupt)
    assert not psutil.pid_exists(int((orders / "Import.executed").read_text()))
    with pytest.raises(StageError, match="stopped"):
        run_stages(dag, executors=processes)
    (tmp_path / "end").touch()
    assert beside.result(60) == str(file)


def test_ctrl_c_is_the_runner_s_alone(processes, tmp_path):
    """A terminal sends it to every process of its group."""
    file = tmp_path / "pid"
    future = processes.start(write_and_wait, str(file), str(tmp_path / "end"))
    wait_until(lambda: file.exists() and file.read_text())
    os.kill(int(file.read_text()), signal.SIGINT)
    (tmp_path / "end").touch()
    assert future.result(60) == str(file)


def write_and_wait(mine: str, others: str) -> str:
    Path(mine).write_text(str(os.getpid()))
    while not Path(others).exists():
        time.sleep(0.01)
    return mine


@component
def meeting(model: OutputArtifact[Model], mine: Parameter[str], others: Parameter[str]):
    """A node that ends once another one runs."""
    write_and_wait(mine, others)
    if others.endswith("later"):
        raise ValueError("a fault")


def test_stages_run_beside_each_other_and_one_that_fails_costs_the_other_nothing(
    processes, tmp_path
):
    def run() -> list[StageResult]:
        observer = Finished()
        nodes = [
            meeting(mine=str(tmp_path / mine), others=str(tmp_path / others)).with_id(mine)
            for mine, others in (("sooner", "later"), ("later", "sooner"))
        ]
        connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
        dag = Pipeline(
            "two",
            str(tmp_path / "pipeline"),
            components=nodes,
            enable_cache=True,
            metadata_connection_config=connection,
        )
        with pytest.raises(StageError, match="ValueError: a fault"):
            run_stages(dag, executors=processes, observer=observer, at_once=2)
        return observer.results

    (first,), (again,) = run(), run()
    assert (first.stage, first.cached) == ("later", False)
    assert again.cached and again.outputs == first.outputs
