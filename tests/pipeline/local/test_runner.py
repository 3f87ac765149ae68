"""What a run promises whatever its nodes do: exit codes, screen, cache, locks, kills, signals."""

import contextlib
import os
import pty
import re
import signal
import time

import mlflow
import psutil
import pytest

from pipeline.local.interruption import Interruption
from tests.pipeline.local.conftest import StubRuns, wait_until


def stages(screen: str) -> dict[str, str]:
    """How each stage ended, by the line that it left: `cached`, `executed` or `failed`."""
    lines = re.findall(r"^[✓✗] +[123]/3 (\w+) .* (\S+)$", screen, re.MULTILINE)
    return {stage: note if note in ("cached", "failed") else "executed" for stage, note in lines}


def mlflow_states(runs: StubRuns) -> list[str]:
    """States of the pipeline's runs in MLflow, the first run's first."""
    client = mlflow.MlflowClient(f"sqlite:///{runs.output}/mlflow.db")
    experiment = client.get_experiment_by_name("gatefold")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return [run.info.status for run in found]


def test_a_first_run_executes_every_node_in_order_and_ends_with_0(first_stub_run):
    runs, code, screen = first_stub_run
    assert code == 0, screen
    assert list(stages(screen).items()) == [
        (stage, "executed") for stage in ("Import", "Work", "Finish")
    ]
    assert "made: music Work Finish" in screen
    (log,) = (runs.output / "logs").glob("*.log")
    assert "Going to run a new execution" not in screen
    assert len(list((runs.output / "logs").glob("*.json"))) == 1 and log.exists()


def test_the_same_again_is_cached_and_a_change_redoes_what_follows_it(stub_runs):
    code, screen = stub_runs.run()
    assert code == 0 and set(stages(screen).values()) == {"cached"}, screen
    assert not any(map(stub_runs.executed, ("Import", "Work", "Finish")))
    code, screen = stub_runs.run("--setting", "=2", "--refuse")
    assert code == 2, screen  # nothing was pushed
    assert stages(screen) == {"Import": "cached", "Work": "executed", "Finish": "executed"}
    assert "made: music Work=2 Finish" in screen


def test_a_fault_ends_with_1_and_the_next_run_goes_on_from_there(stub_runs):
    stub_runs.order("Work.fail")
    code, screen = stub_runs.run("--setting", "=2")
    assert code == 1
    assert stages(screen) == {"Import": "cached", "Work": "failed"}
    assert "ValueError: Work is broken" in screen and "A fault of ours" in screen
    assert "Traceback" not in screen
    (log,) = (stub_runs.output / "logs").glob("*.log")
    assert str(log) in screen and "Traceback" in log.read_text()
    assert mlflow_states(stub_runs)[-1] == "FAILED"
    stub_runs.withdraw("Work.fail")
    code, screen = stub_runs.run("--setting", "=2")
    assert code == 0 and stages(screen)["Import"] == "cached", screen


def test_a_users_mistake_is_a_sentence_and_its_page_is_kept(stub_runs):
    stub_runs.order("Work.mistake")
    code, screen = stub_runs.run("--setting", "=2")
    assert code == 1
    assert "✗ Work: wrong music" in screen and "A fault of ours" not in screen
    assert (stub_runs.output / "ingest.html").read_text() == "<html>all of it"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_promptly_and_mlflow_knows(stub_runs, number):
    stub_runs.order("Work.wait", "Work.loses-an-interrupt")
    process = stub_runs.start("--setting", "=2")
    wait_until(lambda: stub_runs.executed("Work"))
    process.send_signal(number)
    screen, _ = process.communicate(timeout=60)
    assert process.returncode == 130, screen
    assert "Interrupted" in screen and "Traceback" not in screen
    assert not psutil.pid_exists(stub_runs.executed("Work")[0])
    assert mlflow_states(stub_runs)[-1] == "FAILED"
    stub_runs.withdraw("Work.wait")
    code, screen = stub_runs.run("--setting", "=2")
    assert code == 0 and stages(screen)["Import"] == "cached", screen


def test_a_killed_run_leaves_no_process_no_lock_and_nothing_that_seems_to_run(stub_runs):
    stub_runs.order("Work.wait")
    process = stub_runs.start("--setting", "=2")
    wait_until(lambda: stub_runs.executed("Work"))
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert mlflow_states(stub_runs)[-1] == "RUNNING"
    wait_until(lambda: not psutil.pid_exists(stub_runs.executed("Work")[0]), 10)
    stub_runs.withdraw("Work.wait")
    code, screen = stub_runs.run("--setting", "=2")
    assert code == 0, screen
    assert stages(screen) == {"Import": "cached", "Work": "executed", "Finish": "executed"}
    assert mlflow_states(stub_runs)[-2] == "KILLED"


def test_a_killed_stage_is_named_and_costs_only_itself(stub_runs):
    stub_runs.order("Work.wait")
    process = stub_runs.start("--setting", "=2")
    wait_until(lambda: stub_runs.executed("Work"))
    os.kill(stub_runs.executed("Work")[0], signal.SIGKILL)
    screen, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was killed: was there enough memory?" in screen


def test_a_second_run_keeps_out(stub_runs, tmp_path):
    """Of the output folder, and of a metadata store that two output folders name."""
    stub_runs.order("Work.wait")
    store = ["--metadata", str(tmp_path / "metadata.db")]
    process = stub_runs.start(*store)
    wait_until(lambda: stub_runs.executed("Work"))
    code, screen = stub_runs.run(*store)
    assert code == 1 and "--output: another run uses" in screen
    code, screen = StubRuns(tmp_path / "elsewhere", stub_runs.orders).run(*store)
    assert code == 1 and "--metadata: another run uses" in screen
    stub_runs.withdraw("Work.wait")
    screen, _ = process.communicate(timeout=60)
    assert process.returncode == 0, screen


def test_a_terminal_shows_stages_and_no_library(stub_runs):
    stub_runs.order("Work.wait")
    leader, follower = pty.openpty()
    process = stub_runs.start("--setting", "=2", screen=follower)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while part := os.read(leader, 65536):
            shown += part
            if b"1/2 steps" in shown and (stub_runs.orders / "Work.wait").exists():
                stub_runs.withdraw("Work.wait")
    os.close(leader)
    assert process.wait(60) == 0
    screen = shown.decode()
    assert "Finish" in screen
    for noise in ("WARNING", "absl", "UserWarning", "Traceback"):
        assert noise not in screen


def test_behind_nohup_ctrl_c_stays_without_effect():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_reads_the_screen_may_go(stub_runs):
    stub_runs.order("Work.wait")
    process = stub_runs.start("--setting", "=2")
    wait_until(lambda: stub_runs.executed("Work"))
    process.stdout.close()
    stub_runs.withdraw("Work.wait")
    assert process.wait(60) == 1


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    code, screen = StubRuns(tmp_path / "file" / "out", tmp_path).run()
    assert code == 1
    assert "--output: cannot write to" in screen and "Traceback" not in screen
