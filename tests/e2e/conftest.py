"""A small synthetic sample, and the pipeline as its users start it: a process of its own."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TRACKS_PER_GENRE = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its exit code, what the user saw, and how often each stage was executed."""

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


def start(*arguments: str, screen: int = subprocess.PIPE) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "local_runner.py", *arguments],
        cwd=ROOT,
        stdout=screen,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*arguments: str) -> Run:
    process = start(*arguments)
    screen, _ = process.communicate(timeout=900)
    return Run(process.returncode, screen)


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """Forty short synthetic tracks, four a genre."""
    from components.gtzan.synthetic import write_sample

    return write_sample(tmp_path_factory.mktemp("sample"), tracks_per_genre=TRACKS_PER_GENRE)


@pytest.fixture(scope="session")
def arguments(sample, tmp_path_factory) -> list[str]:
    """A quick run that the gate lets pass."""
    output = tmp_path_factory.mktemp("output")
    return [
        *("--data", str(sample), "--output", str(output), "--epochs", "1"),
        *("--min-accuracy", "0", "--min-macro-f1", "0"),
        *("--set", "training.windows_per_track=1", "--models", "cnn"),
    ]


@pytest.fixture(scope="session")
def output(arguments) -> Path:
    return Path(arguments[arguments.index("--output") + 1])


@pytest.fixture(scope="session")
def first_run(arguments) -> Run:
    return run(*arguments)
