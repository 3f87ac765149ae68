"""The pipeline as its users start it: a process of its own."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from components.common.releases import ReleaseStore
from serving.client import GenreClient
from serving.local_model import LocalModel
from tests.conftest import ROOT
from tests.permissive_gate import PERMISSIVE
from tests.serving.one_answer import assert_one_answer
from tests.serving.server_process import ServerProcess
from tests.warm import WarmProcess


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its exit code, what the user saw, and how each stage ended."""

    code: int
    screen: str

    def stages(self) -> dict[str, str]:
        """The note behind each finished stage: `cached` or `executed`."""
        notes = {}
        for line in self.screen.splitlines():
            if line.startswith("✓") and "/" in line.split()[1]:
                words = line.split()
                notes[words[2]] = "cached" if words[-1] == "cached" else "executed"
        return notes

    def executed(self) -> set[str]:
        return {stage for stage, note in self.stages().items() if note == "executed"}


def run(*arguments: str) -> Run:
    process = WarmProcess("local_runner", arguments, cwd=ROOT, env=os.environ)
    screen, _ = process.communicate(timeout=900)
    return Run(process.returncode, screen)


def assert_served(models: Path, track: Path, folder: Path) -> None:
    """Checks that the one pushed version gives the same answer whichever way it is asked.

    Args:
      models: The folder that models are pushed to.
      track: A WAV file.
      folder: Where files may be written.
    """
    (number,) = ReleaseStore(str(models)).versions()
    server = ServerProcess(folder / "server", ["--model-base-path", str(models)])
    try:
        assert_one_answer(server.wait_ready(), models / str(number), track.read_bytes(), folder)
        with GenreClient(server.address) as client:
            by_client = client.classify_file(track)
        local = LocalModel(ReleaseStore(str(models)), number).classify_file(track)
        assert local.version == by_client.version == number
        assert local.genre == by_client.genre
        np.testing.assert_allclose(local.probabilities, by_client.probabilities, atol=1e-5)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def permissive(tmp_path_factory) -> str:
    """The file of a gate that any model passes."""
    file = tmp_path_factory.mktemp("gate") / "permissive.yaml"
    file.write_text(PERMISSIVE)
    return str(file)
