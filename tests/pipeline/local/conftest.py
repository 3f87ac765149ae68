"""Runs of three stub nodes, each as its users' shell starts it: what the runner itself promises."""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.warm import WarmProcess


@dataclasses.dataclass(frozen=True)
class StubRuns:
    """An output folder, and the folder whose files tell the nodes what to do."""

    output: Path
    orders: Path

    def start(self, *arguments: str, **options) -> WarmProcess:
        return WarmProcess(
            "tests.pipeline.local.stub_run",
            [str(self.output), str(self.orders), *arguments],
            cwd=ROOT,
            env=os.environ,
            **options,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Runs to the end; the exit code, and what was on the screen."""
        process = self.start(*arguments)
        screen, _ = process.communicate(timeout=120)
        return process.returncode, screen

    def order(self, *names: str) -> None:
        """Tells a node to do something, as in `Work.fail`."""
        for name in names:
            (self.orders / name).touch()

    def withdraw(self, name: str) -> None:
        (self.orders / name).unlink()

    def executed(self, node: str) -> list[int]:
        """The processes that have executed a node."""
        log = self.orders / f"{node}.executed"
        return [int(line) for line in log.read_text().split()] if log.exists() else []


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="package")
def first_stub_run(tmp_path_factory) -> tuple[StubRuns, int, str]:
    """A first run; its exit code and its screen."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "orders").mkdir()
    runs = StubRuns(folder / "output", folder / "orders")
    return runs, *runs.run()


@pytest.fixture
def stub_runs(first_stub_run, tmp_path) -> StubRuns:
    """The output folder of the first run, moved, with everything in the cache."""
    first, code, screen = first_stub_run
    assert code == 0, screen
    shutil.copytree(first.output, tmp_path / "output", ignore=shutil.ignore_patterns("logs"))
    for log in first.orders.iterdir():
        log.unlink()
    return StubRuns(tmp_path / "output", first.orders)
