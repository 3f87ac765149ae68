"""The tutorial, as its reader walks it: each command of its pages in order, in one folder.

What a page shows in a text block must be among the lines that the commands above it print, in that
order; "…" stands for anything. The commands are the reader's, but runs are of four-second tracks,
with a gate that any model passes, and the server listens on a free port. The first run trains the
model and the feature that the how-to pages add, and a later one a SavedModel of the user's.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.gtzan import synthetic
from components.gtzan.composer import COMPOSER_VERSION
from components.gtzan.genres import GENRES
from components.gtzan.listing import MANIFEST
from tests.conftest import ROOT
from tests.e2e.conftest import assert_served
from tests.example_gen.conftest import SHORT, sound, write_track
from tests.permissive_gate import PERMISSIVE
from tests.trainer import saved_models
from tests.warm import WarmProcess

PAGES = ("first-release", "evidence", "own-model", "kubeflow")
HOW_TO = {
    "add-a-feature": "components/audio/features/loudness.py",
    "add-a-model": "components/trainer/models/envelope.py",
}
CATALOGS = {
    '    "waveform",\n': ("components/audio/catalog.py", '    "loudness",\n'),
    '    "ensemble",\n': ("components/trainer/catalog.py", '    "envelope",\n'),
}
PARTS = ("components", "kubeflow", "pipeline", "schemas", "serving")
BLOCK = re.compile(r"```(bash|text|python)\n(.*?)```", re.DOTALL)
READY = "Ctrl-C stops it."


def python_file(page: str, path: str) -> str:
    """The file that a page shows, which begins with a comment that names it."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    (code,) = (code for _, code in BLOCK.findall(text) if code.startswith(f"# {path}\n"))
    return code


class Reader:
    """A checkout with a small sample, and what its reader has started there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.body = folder / "gatefold", saved_models.save("yamnet", folder / "yamnet")
        for part in PARTS:
            shutil.copytree(ROOT / part, self.folder / part)
        for file in ("Makefile", "gatefold.py", "local_runner.py", "pyproject.toml"):
            shutil.copy2(ROOT / file, self.folder)
        (self.folder / ".venv" / "bin").mkdir(parents=True)
        (self.folder / ".venv" / "bin" / "activate").touch()
        write_sample(self.folder / "data" / "synthetic")
        gate = folder / "permissive.yaml"
        gate.write_text(PERMISSIVE)
        self.small = ["--set", "audio.clip_seconds=4", "--copies", "0", "--gate", str(gate)]
        self.environment = {
            **{name: os.environ[name] for name in os.environ.keys() - {"DISPLAY", "MAKEFLAGS"}},
            "ARGS": shlex.join([*self.small, "--models", "envelope"]),
            "COLUMNS": "160",
            "PYTHONPATH": str(self.folder),
        }
        self.servers: list[WarmProcess] = []
        self.ports = ("", "")

    def follow(self, page: str) -> None:
        """Does what a page says, and compares what it shows with what is printed."""
        screen = ""
        for kind, content in BLOCK.findall((ROOT / "docs" / "tutorial" / f"{page}.md").read_text()):
            if kind == "python":
                (self.folder / content.partition("\n")[0].removeprefix("# ")).write_text(content)
            elif kind == "bash":
                commands = content.replace("\\\n", " ").splitlines()
                screen = "".join(self.enter(command) for command in commands)
            else:
                assert_shown(content, screen)

    def enter(self, command: str) -> str:
        """Runs a line of a bash block. Returns what is printed."""
        for default, port in zip(("8500", "8501"), self.ports, strict=True):
            command = command.replace(f"localhost:{default}", f"localhost:{port}")
        if command.startswith("gatefold serve"):
            return self.serve(shlex.split(command)[1:-1])
        if command == "kill %1":
            self.servers.pop().terminate()
            return ""
        if command.startswith("gatefold "):
            _, word, *flags = shlex.split(command)
            if word == "run":
                flags = [*self.small, *flags]
                if "tiny" in flags:
                    flags += ["--models", "tiny,embedding", "--weights", self.body]
            elif word == "client":
                flags += ["--server", f"localhost:{self.ports[0]}"]
            process = self.start(word, *flags)
            screen, _ = process.communicate(timeout=600)
        else:
            make = f"make -s -o .venv/.runtime PYTHON={shlex.quote(sys.executable)} "
            process = subprocess.run(
                ["bash", "-c", re.sub("^make ", make, command)],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            screen = process.stdout
        refused = 2 if " run " in command else 0
        assert process.returncode in (0, refused), f"{command}\n{screen}"
        for noise in ("WARNING", "tensorflow", "Traceback", "absl"):
            assert noise not in screen
        return screen

    def start(self, *arguments: str, **options) -> WarmProcess:
        return WarmProcess("gatefold", arguments, cwd=self.folder, env=self.environment, **options)

    def serve(self, arguments: list[str]) -> str:
        log = self.folder.parent / "server.txt"
        with log.open("w") as screen:
            self.servers.append(
                self.start(*arguments, "--port", "0", "--rest-port", "0", screen=screen.fileno())
            )
        end = time.monotonic() + 120
        while READY not in (text := log.read_text()):
            assert self.servers[-1].poll() is None and time.monotonic() < end, text
            time.sleep(0.1)
        self.ports = tuple(re.search(rf"{name} +\S+:(\d+)", text)[1] for name in ("gRPC", "REST"))
        return text


def write_sample(folder: Path) -> None:
    """In place of the composed one: steady tones are blues, and those that come and go are not."""
    for number, genre in enumerate(GENRES):
        for index in range(synthetic.TRACKS_PER_GENRE):
            samples = sound(20 * number + index)
            if number:
                seconds = np.arange(len(samples)) / SHORT.sample_rate_hz
                samples = samples * (np.sin(2 * np.pi * number * seconds) > 0)
            write_track(folder, genre, index, samples)
    made = {"composer": COMPOSER_VERSION, "seed": 0, "tracks_per_genre": synthetic.TRACKS_PER_GENRE}
    (folder / MANIFEST).write_text(json.dumps({**made, "complete": True}))


def assert_shown(expected: str, screen: str) -> None:
    lines = iter(screen.splitlines())
    for line in expected.splitlines():
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
        assert any(pattern.fullmatch(found.strip()) for found in lines), f"{line!r}\n{screen}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("tutorial"))
    for page, path in HOW_TO.items():
        (reader.folder / path).write_text(python_file(f"how-to/{page}", path))
    for last, (catalog, line) in CATALOGS.items():
        file = reader.folder / catalog
        file.write_text(file.read_text().replace(last, last + line))
    yield reader
    for server in reader.servers:
        server.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_is_what_its_reader_sees(page, reader):
    reader.follow(page)


@pytest.mark.slow
def test_models_and_a_feature_of_a_user_are_served_with_all_that_they_need(reader, tmp_path):
    shutil.rmtree(reader.body)
    music = tf.constant(sound(7, seconds=10.0)[np.newaxis], tf.float32)
    for output, name in (("output", "envelope"), ("my-model", "tiny"), ("my-model", "embedding")):
        (folder,) = (reader.folder / output / "pipeline").glob(
            f"*/Trainer-{name}/model/*/Format-Serving"
        )
        answer = tf.saved_model.load(str(folder)).signatures["classify_audio"](audio=music)
        # Its notes are steady, as those of blues were.
        assert answer["genres"][0][np.argmax(answer["probabilities"][0])] == b"blues"
        assert answer["window_probabilities"].shape[:2] == (1, 2)
        np.testing.assert_allclose(np.sum(answer["probabilities"]), 1.0, atol=1e-5)
    shutil.copytree(folder, tmp_path / "served" / "genre" / "1")
    track = reader.folder / "my music" / "blues" / "blues.00000.wav"
    assert_served(tmp_path / "served" / "genre", track, tmp_path)
