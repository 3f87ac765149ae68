"""The client's calls: what is tried again, what is not, and which version answers a song."""

import asyncio
import json
import pathlib
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import soundfile

from components.common.errors import UserError
from serving.client import AsyncGenreClient, CallError, GenreClient
from tests.serving.proxy import Proxy
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import SETTINGS, tone

BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
FULL = (  # as the embedded server and TF Serving say it
    grpc.StatusCode.UNAVAILABLE,
    "The batch scheduling queue to which this task was submitted is full",
)
GONE = (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(genre, 2)")


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[Proxy]:
    proxy = Proxy(server.address)
    yield proxy
    proxy.close()


def asked_versions(proxy: Proxy) -> list[int | None]:
    return [
        request.model_spec.version.value if request.model_spec.HasField("version") else None
        for request in proxy.requests
    ]


@pytest.mark.parametrize("refusal", [BUSY, FULL])
def test_busy_server_is_asked_again_beyond_the_attempts(proxy: Proxy, refusal: tuple) -> None:
    proxy.refusals = [refusal] * 4
    with GenreClient(proxy.address, attempts=1) as client:
        assert client.classify_samples(tone("jazz")).genre == "jazz"
    assert len(proxy.requests) == 5


@pytest.mark.parametrize("refusal", [BUSY, FULL])
def test_busy_server_is_given_up_at_the_deadline(proxy: Proxy, refusal: tuple) -> None:
    proxy.refusals = [refusal] * 100
    client = GenreClient(proxy.address)
    with client, pytest.raises(CallError, match="too busy, for 1 s now") as caught:
        client.classify_samples(tone("jazz"), timeout_seconds=1)
    assert caught.value.code == refusal[0].name
    assert 2 <= len(proxy.requests) < 10


def test_too_large_a_message_is_not_sent_again(proxy: Proxy) -> None:
    proxy.refusals = [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)")
    ]
    with GenreClient(proxy.address) as client, pytest.raises(CallError, match="larger than max"):
        client.classify_samples(tone("jazz"))
    assert len(proxy.requests) == 1


def test_parts_of_a_song_are_answered_by_one_version(proxy: Proxy) -> None:
    with GenreClient(proxy.address, label="stable") as client:
        prediction = client.classify_samples(tone("blues", seconds=700))
    assert prediction.version == 1 and prediction.genre == "classical"
    assert proxy.requests[0].model_spec.version_label == "stable"
    assert asked_versions(proxy) == [None, 1, 1]


def test_song_starts_over_when_its_version_is_unloaded(proxy: Proxy) -> None:
    proxy.refusals = [None, GONE]
    with GenreClient(proxy.address) as client:
        prediction = client.classify_samples(tone("blues", seconds=700))
    assert asked_versions(proxy) == [None, 2, None, 2, 2]
    assert prediction.duration_seconds == 700
    proxy.refusals = [None, GONE] * 3
    with GenreClient(proxy.address) as client, pytest.raises(CallError, match="not found"):
        client.classify_samples(tone("blues", seconds=700))


def test_rest_port_is_called_so(server: ServerProcess) -> None:
    address = server.rest_url.removeprefix("http://")
    with GenreClient(address) as client, pytest.raises(CallError, match="looks like the REST port"):
        client.versions()


def test_deadline_is_the_calls_own(server: ServerProcess) -> None:
    with GenreClient(server.address) as client:
        with pytest.raises(CallError, match=r"no answer within 0\.0001 s"):
            client.classify_samples(tone("pop"), timeout_seconds=0.0001)
        assert client.classify_samples(tone("pop")).genre == "pop"


def test_async_client_gives_the_same_answers(server: ServerProcess, tmp_path: pathlib.Path) -> None:
    paths = []
    for genre in ("rock", "metal", "reggae", "disco"):
        paths.append(tmp_path / f"{genre}.wav")
        soundfile.write(paths[-1], tone(genre, seconds=35), SETTINGS.sample_rate_hz)
    paths.insert(2, tmp_path / "none.wav")

    async def ask() -> tuple:
        async with AsyncGenreClient(server.address) as client:
            versions = await client.versions()
            one = await client.classify_file(paths[0])
            data = await client.classify_bytes(paths[1].read_bytes(), name="x.wav", version=1)
            samples = await client.classify_samples(tone("pop", seconds=650), label="canary")
            results = [result async for result in client.stream(paths, concurrency=2)]
            return versions, one, data, samples, results

    versions, one, data, samples, results = asyncio.run(ask())
    with GenreClient(server.address) as client:
        assert versions == client.versions()
        expected = client.classify_file(paths[0]).as_json() | {"milliseconds": 0}
        assert one.as_json() | {"milliseconds": 0} == expected
    assert data.genre == "pop" and data.version == 1  # the version that is shifted by one
    assert samples.genre == "pop" and samples.duration_seconds == 650
    assert [result.path for result in results] == paths
    genres = [result.prediction.genre if result.prediction else None for result in results]
    assert genres == ["rock", "metal", None, "reggae", "disco"]
    assert "none.wav cannot be read" in results[2].error


def test_async_client_retries_and_explains_as_the_other(proxy: Proxy) -> None:
    async def ask() -> tuple[str, str]:
        proxy.refusals = [BUSY, None, GONE, BUSY]
        async with AsyncGenreClient(proxy.address, timeout_seconds=10) as client:
            prediction = await client.classify_samples(tone("jazz", seconds=400))
            with pytest.raises(UserError, match="not numbers"):
                await client.classify_samples(np.full(100_000, np.nan))
            with pytest.raises(UserError, match="not both"):
                await client.classify_samples(tone("pop"), version=1, label="stable")
            with pytest.raises(UserError, match="x is not audio"):
                await client.classify_bytes(b"la la la", name="x")
        async with AsyncGenreClient("localhost:1", attempts=1) as client:
            with pytest.raises(CallError, match="make serve"):
                await client.versions()
        return prediction.genre

    assert asyncio.run(ask()) == "jazz"
    assert asked_versions(proxy) == [None, None, 2, None, None, 2]


def test_event_loop_is_free_while_a_song_is_read(
    server: ServerProcess, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(tone("pop", seconds=60), 10), SETTINGS.sample_rate_hz)

    async def ask() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        counting = asyncio.create_task(count())
        async with AsyncGenreClient(server.address) as client:
            await client.classify_file(path)
        counting.cancel()
        return turns

    # On the loop, reading and asking in three steps would leave it a handful of turns.
    assert asyncio.run(ask()) > 50


def test_prediction_is_json(server: ServerProcess) -> None:
    with GenreClient(server.address) as client:
        line = json.loads(json.dumps(client.classify_samples(tone("pop")).as_json()))
    assert line["genre"] == "pop" and line["close"] is False
