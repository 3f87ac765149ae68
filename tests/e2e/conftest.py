"""A small synthetic sample, and the pipeline as its users start it: a process of its own."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.common import releases
from serving.client import GenreClient
from serving.local_model import LocalModel
from tests.conftest import ROOT
from tests.permissive_gate import PERMISSIVE
from tests.serving.one_answer import assert_one_answer
from tests.serving.server_process import ServerProcess
from tests.warm import WarmProcess

TRACKS_PER_GENRE = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its exit code, what the user saw, and how each stage ended."""

    code: int
    screen: str

    def stages(self) -> dict[str, str]:
        """The note behind each finished stage: `cached`, or its time."""
        notes = {}
        for line in self.screen.splitlines():
            if line.startswith("✓") and "/" in line.split()[1]:
                words = line.split()
                notes[words[2]] = "cached" if words[-1] == "cached" else "executed"
        return notes


def start(*arguments: str) -> WarmProcess:
    return WarmProcess("local_runner", arguments, cwd=ROOT, env=os.environ)


def start_cold(*arguments: str, screen: int = subprocess.PIPE) -> subprocess.Popen:
    """Starts it as a user's shell does, with all imports ahead."""
    return subprocess.Popen(
        [sys.executable, "local_runner.py", *arguments],
        cwd=ROOT,
        stdout=screen,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*arguments: str, process: WarmProcess | subprocess.Popen | None = None) -> Run:
    process = process or start(*arguments)
    screen, _ = process.communicate(timeout=900)
    return Run(process.returncode, screen)


def output_of(arguments: list[str]) -> Path:
    return Path(arguments[arguments.index("--output") + 1])


def assert_served(models: Path, track: Path, folder: Path) -> None:
    """Checks that the one pushed version gives the same answer whichever way it is asked.

    Args:
      models: The folder that models are pushed to.
      track: A WAV file.
      folder: Where files may be written.
    """
    (number,) = releases.versions(str(models))
    server = ServerProcess(folder / "server", ["--model-base-path", str(models)])
    try:
        assert_one_answer(server.wait_ready(), models / str(number), track.read_bytes(), folder)
        with GenreClient(server.address) as client:
            by_client = client.classify_file(track)
        local = LocalModel(models / str(number)).classify_file(track)
        assert local.version == by_client.version == number
        assert local.genre == by_client.genre
        np.testing.assert_allclose(local.probabilities, by_client.probabilities, atol=1e-5)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all processes of this test session share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "e2e").mkdir(exist_ok=True)
    return folder / "e2e"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps the session's other processes out meanwhile."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def sample(shared) -> Path:
    """Forty synthetic tracks, four a genre."""
    from components.gtzan.synthetic import write_sample

    with alone(shared):
        return write_sample(shared / "sample", tracks_per_genre=TRACKS_PER_GENRE)


@pytest.fixture(scope="session")
def permissive(tmp_path_factory) -> str:
    """The file of a gate that any model passes."""
    file = tmp_path_factory.mktemp("gate") / "permissive.yaml"
    file.write_text(PERMISSIVE)
    return str(file)


@pytest.fixture(scope="session")
def arguments(sample, permissive, shared) -> list[str]:
    """A quick run that the gate lets pass."""
    return [
        *("--data", str(sample), "--output", str(shared / "output"), "--epochs", "1"),
        *("--gate", permissive, "--set", "audio.clip_seconds=4"),
        *("--set", "training.windows_per_track=1", "--models", "cnn"),
    ]


@pytest.fixture(scope="session")
def output(arguments) -> Path:
    return output_of(arguments)


@pytest.fixture(scope="session")
def first_run(arguments, output, shared) -> Run:
    """That run, as the first of its output folder; only once, whichever process needs it first."""
    with alone(shared):
        told = shared / "first_run.json"
        if not told.is_file():
            first = run(process=start_cold(*arguments))
            # What the folder holds now, for those who run on while others change it.
            shutil.copytree(output, shared / "first", ignore=shutil.ignore_patterns("pipeline"))
            told.write_text(json.dumps(dataclasses.asdict(first)))
        return Run(**json.loads(told.read_text()))


@pytest.fixture
def branched_off(first_run: Run, arguments, shared, tmp_path) -> list[str]:
    """The first run's arguments, with an output folder of one's own as that run left its.

    Its artifacts are those of the first run: everything is in the cache.
    """
    assert first_run.code == 0, first_run.screen
    own = tmp_path / "output"
    shutil.copytree(shared / "first", own)
    place = arguments.index("--output") + 1
    return [*arguments[:place], str(own), *arguments[place + 1 :]]
