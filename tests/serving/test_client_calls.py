"""The client's calls: what is tried again, what is not, and which version answers a song."""

import asyncio
import doctest
import functools
import io
import re
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import soundfile
import soxr

from components.audio import codec
from serving.client import CallError, GenreClient
from tests.conftest import ROOT
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
def test_busy_server_is_asked_again(proxy: Proxy, refusal: tuple) -> None:
    """With a request of five minutes, which is larger than gRPC keeps by default."""
    proxy.refusals = [refusal] * 2
    with GenreClient(proxy.address) as client:
        assert client.classify_samples(tone("jazz", seconds=290)).genre == "jazz"
    assert len(proxy.requests) == 3


def test_busy_server_is_given_up_in_the_end(proxy: Proxy) -> None:
    proxy.refusals = [FULL] * 100
    for timeout_seconds, code, calls in ((60, "UNAVAILABLE", 5), (1, "DEADLINE_EXCEEDED", None)):
        client = GenreClient(proxy.address, timeout_seconds=timeout_seconds)
        with client, pytest.raises(CallError) as caught:
            client.classify_samples(tone("jazz"))
        assert caught.value.code == code
        assert calls in (len(proxy.requests), None)


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


OLD = (grpc.StatusCode.INVALID_ARGUMENT, "the WAV must be of 22050 Hz. Received: 44100")


@pytest.mark.parametrize(
    ("rate", "refusals", "sent"),
    [
        (44_100, [], [44_100, 44_100]),
        (48_000, [], [48_000, 48_000]),
        (44_099, [], [22_050]),  # which releases do not take
        (44_100, [OLD], [44_100, 22_050]),  # of a release that takes its own rate only
    ],
)
def test_a_song_is_sent_as_it_is_and_its_parts_give_one_answer(
    proxy: Proxy, rate: int, refusals: list, sent: list[int]
) -> None:
    proxy.refusals = [*refusals]
    song = np.concatenate([tone("jazz", seconds=100), tone("pop", seconds=60)])
    file = io.BytesIO()
    stereo = np.repeat(soxr.resample(song, SETTINGS.sample_rate_hz, rate)[:, None], 2, axis=1)
    soundfile.write(file, stereo, rate, "PCM_24", format="FLAC")
    with GenreClient(proxy.address) as client:
        prediction = client.classify_bytes(file.getvalue(), name="song.flac")
        whole = client.classify_samples(song)
    wavs = [request.inputs["wav"].string_val[0] for request in proxy.requests]
    assert [soundfile.info(io.BytesIO(wav)).samplerate for wav in wavs[: len(sent)]] == sent
    assert prediction.duration_seconds == pytest.approx(160, abs=0.01)
    np.testing.assert_allclose(prediction.window_starts_seconds, whole.window_starts_seconds)
    np.testing.assert_allclose(prediction.probabilities, whole.probabilities, atol=1e-3)


def test_rest_port_is_called_so(server: ServerProcess) -> None:
    """A name may have several addresses, of which gRPC reports whichever failed last."""
    address = f"localhost:{server.rest_url.rpartition(':')[2]}"
    with GenreClient(address) as client, pytest.raises(CallError, match="looks like the REST port"):
        client.versions()


def test_the_example_in_the_docstring_asks_a_server(server, tmp_path, monkeypatch) -> None:
    soundfile.write(tmp_path / "song.wav", tone("jazz"), SETTINGS.sample_rate_hz)
    monkeypatch.chdir(tmp_path)
    connected = functools.partial(GenreClient, server.address)
    (example, *_) = doctest.DocTestFinder().find(GenreClient, globs={"GenreClient": connected})
    assert doctest.DocTestRunner().run(example) == (0, 1)


def test_asyncio_as_the_docs_show_it(server: ServerProcess) -> None:
    page = (ROOT / "docs" / "how-to" / "client.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    (code,) = (block for block in blocks if "grpc.aio" in block)
    names: dict = {}
    exec(code, names)
    wav = codec.encode_wav(tone("jazz"), SETTINGS.sample_rate_hz)
    answer = asyncio.run(names["classify"](wav, server.address))
    assert max(answer, key=answer.__getitem__) == b"jazz"
