"""The shadow version is asked beside the one that answers, and can do no harm."""

import json
import pathlib
import shutil
import time
import urllib.request

import numpy as np
import psutil
import pytest

from components.common import release_shadow
from components.gtzan.genres import GENRES
from serving.client.genre_client import GenreClient
from serving.server import shadow as shadow_module
from serving.server.calls import make_call
from serving.server.line_writer import LineWriter
from serving.server.loading import LoadedVersion
from serving.server.shadow import Shadow
from serving.server.shadow_log import ShadowLog, disagreements
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone


@pytest.fixture(scope="module")
def base(tmp_path_factory, versions) -> pathlib.Path:
    """Version 1 says the genre after the right one, version 2 is right and answers."""
    base = tmp_path_factory.mktemp("shadowed") / "genre"
    shutil.copytree(versions["shifted"], base / "1")
    shutil.copytree(versions["right"], base / "2")
    return base


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory, base) -> ServerProcess:
    """A server whose shadow is version 1, ready to be asked."""
    folder = tmp_path_factory.mktemp("shadow-server")
    release_shadow.mark_shadow(str(base), 1)
    log = folder / "shadow.jsonl"
    flags = [
        *("--model-base-path", str(base)),
        *("--poll-seconds", "0.2"),
        *("--metrics-port", "0"),
        *("--shadow-log", str(log)),
    ]
    process = ServerProcess(folder, flags)
    process.shadow_log = log
    try:
        process.wait_ready()
        process.wait_output("version 1 is asked as the shadow", seconds=300)
        yield process
    finally:
        process.stop()


def classify(server: ServerProcess, genre: str):
    with GenreClient(server.address) as client:
        return client.classify_samples(tone(genre))


def wait_results(server: ServerProcess, result: str, count: float) -> None:
    end = time.monotonic() + 60
    while (found := shadow_results(server, result)) < count:
        assert time.monotonic() < end, f"{result}: {found} of {count}"
        time.sleep(0.05)


def shadow_results(server: ServerProcess, result: str) -> float:
    return server.metric("gatefold_shadow_requests_total", model="genre", result=result)


def test_the_shadow_is_asked_and_what_it_says_otherwise_is_counted_and_logged(shadowed):
    for _ in range(3):
        assert classify(shadowed, "jazz").genre == "jazz", "the shadow never answers"
    wait_results(shadowed, "disagrees", 3)
    line = json.loads(shadowed.shadow_log.read_text().splitlines()[-1])
    assert (line["version"], line["shadow_version"], line["row"]) == (2, 1, 0)
    assert (line["genre"], line["shadow_genre"]) == ("jazz", GENRES[GENRES.index("jazz") + 1])
    assert line["largest_difference"] > 0.1
    assert shadow_results(shadowed, "agrees") == shadow_results(shadowed, "failed") == 0


def test_rest_calls_are_compared_too(shadowed):
    before = shadow_results(shadowed, "disagrees")
    inputs = {"audio": [tone("blues", seconds=3.1).tolist()]}
    body = json.dumps({"signature_name": "classify_audio", "inputs": inputs}).encode()
    with urllib.request.urlopen(f"{shadowed.rest_url}/v1/models/genre:predict", body) as answer:
        assert json.loads(answer.read())
    wait_results(shadowed, "disagrees", before + 1)


def test_a_shadow_whose_process_ends_fails_no_call(shadowed, base):
    """Runs last: it ends the module's shadow."""
    (worker,) = (
        child for child in psutil.Process(shadowed.pid).children() if "shadow_worker" in cmd(child)
    )
    assert worker.nice() == 19
    worker.kill()
    for _ in range(2):
        assert classify(shadowed, "jazz").genre == "jazz"
    shadowed.wait_output("version 1 cannot be asked as the shadow")
    release_shadow.unmark_shadow(str(base))
    shadowed.wait_output("version 1 is no shadow now")
    assert not psutil.Process(shadowed.pid).children()


def cmd(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


@pytest.fixture(scope="module")
def call(versions):
    """A call of the right model, as the core hands it on."""
    version = LoadedVersion("genre", 2, str(versions["right"]))
    signature = version.signatures["classify_audio"]
    inputs = {"audio": tone("jazz")[np.newaxis]}
    outputs = ("probabilities", "genres")
    yield make_call(version, signature, inputs, outputs, lambda values: values)
    version.retire()


def test_no_more_than_so_many_calls_and_bytes_are_held(call, versions, monkeypatch):
    results = []
    log = ShadowLog("", LineWriter(2))
    observe = lambda *said: results.append(said)  # noqa: E731
    shadow = Shadow("genre", 1, "/none", observe=observe, log=log)
    try:
        shadow._ready = True  # as if it had loaded: nothing is asked here
        held = [shadow.offer(call) for _ in range(shadow_module._MOST_CALLS + 2)]
        assert [question is None for question in held[-3:]] == [False, True, True]
        assert results == [("genre", 1, "dropped")] * 2
        for question in held[:-2]:
            question.forget()
        monkeypatch.setattr(shadow_module, "_MOST_BYTES", call.input_bytes)
        first = shadow.offer(call)
        assert first is not None and shadow.offer(call) is None
    finally:
        shadow.close()


def test_the_log_stays_bounded_and_a_place_that_takes_nothing_does_no_harm(tmp_path):
    log = ShadowLog(str(tmp_path / "log"), LineWriter(2), most_bytes=1000)
    for number in range(100):
        log.write(number=number)
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(files) == {"log", "log.1"} and max(files.values()) <= 1000
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["number"] == 99
    ShadowLog(str(tmp_path / "none" / "log"), LineWriter(2)).write(number=1)


def test_versions_that_know_other_genres_are_compared_by_name():
    def outputs(names: list[str], values: list[float]):
        return {
            "genres": np.array([[name.encode() for name in names]], object),
            "probabilities": np.array([values], np.float32),
        }

    served = outputs(["blues", "jazz"], [0.2, 0.8])
    assert disagreements(served, outputs(["folk", "blues", "jazz"], [0.1, 0.2, 0.7])) == []
    (line,) = disagreements(served, outputs(["jazz", "blues", "folk"], [0.1, 0.2, 0.7]))
    assert (line["genre"], line["shadow_genre"]) == ("jazz", "folk")
    assert line["largest_difference"] is None
