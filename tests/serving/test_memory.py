"""What the server holds is bounded, and what it has answered is gone at once."""

import asyncio
import concurrent.futures
import gc
import pathlib
import re
import threading
import urllib.error
import urllib.request
import weakref

import grpc
import numpy as np
import pytest

from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods
from serving.server import prediction
from serving.server.access_log import CallRecord
from serving.server.budget import ByteBudget
from serving.server.core import Arrival
from serving.server.status import ServingError
from tests.serving.core_in_process import running_core
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

MEBIBYTE = 1 << 20
PREDICT = methods(PREDICTION_SERVICE)["Predict"]
UNBOUNDED = [("grpc.max_send_message_length", -1)]


def request_of(samples: np.ndarray):
    request = message("PredictRequest")()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = "classify_audio"
    request.inputs["audio"].CopyFrom(encode_tensor(samples[np.newaxis]))
    return request


def peak_mebibytes(pid: int) -> int:
    """The most memory that a process ever took."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]):
    """A server that holds 48 MiB of requests, 8 MiB each, and waits a second for each."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "genre").mkdir()
    (folder / "genre" / "1").symlink_to(versions["right"])
    process = ServerProcess(
        folder,
        [
            *("--model-base-path", str(folder / "genre")),
            *("--max-message-mib", "8", "--memory-mib", "48", "--read-seconds", "1"),
            *("--batch-timeout-ms", "1500"),
        ],
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.mark.slow
def test_many_large_requests_take_no_more_than_the_budget(small: ServerProcess) -> None:
    # Not finite, so that the model refuses it before it takes memory of its own.
    large = request_of(np.full(2 * MEBIBYTE - 100, np.nan, np.float32)).SerializeToString()
    with grpc.insecure_channel(small.address, options=UNBOUNDED) as channel:
        call = channel.unary_unary(PREDICT.path)
        with pytest.raises(grpc.RpcError):
            call(large, timeout=60)  # TensorFlow's threads take memory when they first run
        before = peak_mebibytes(small.pid)
        futures = [call.future(large, timeout=120) for _ in range(64)]
        codes = [future.code() for future in futures]
        assert set(codes) == {
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert codes.count(grpc.StatusCode.INVALID_ARGUMENT) >= 5
        good = call(request_of(tone("jazz")).SerializeToString(), timeout=60)
        assert message("PredictResponse").FromString(good).model_spec.version.value == 1
    # 64 calls are 512 MiB, and each once existed three times. docs/serving.md: the budget, a run's
    # inputs twice more, two messages being read, each three times; and what malloc rounds up.
    assert peak_mebibytes(small.pid) - before < 48 + 2 * 48 + 2 * 3 * 8 + 64


@pytest.mark.slow
def test_many_large_bodies_take_no_more_than_the_budget(small: ServerProcess) -> None:
    numbers = ",".join(["NaN"] * (2 * MEBIBYTE - 100))
    body = f'{{"signature_name":"classify_audio","inputs":[[{numbers}]]}}'.encode()

    def ask() -> int:
        request = urllib.request.Request(f"{small.rest_url}/v1/models/genre:predict", body)
        try:
            return urllib.request.urlopen(request, timeout=120).status
        except urllib.error.HTTPError as error:
            return error.code
        except (ConnectionError, urllib.error.URLError):
            return 0  # it was refused while its body was being sent

    ask()
    before = peak_mebibytes(small.pid)
    with concurrent.futures.ThreadPoolExecutor(24) as executor:
        codes = list(executor.map(lambda _: ask(), range(24)))
    assert set(codes) <= {400, 429, 0}
    assert codes.count(400) >= 5
    assert ask() == 400
    # docs/serving.md: two bodies are being read, each up to nine times.
    assert peak_mebibytes(small.pid) - before < 48 + 2 * 48 + 2 * 9 * 8 + 64


@pytest.mark.slow
def test_compressed_message_is_not_unpacked_beyond_the_limit(small: ServerProcess) -> None:
    before = peak_mebibytes(small.pid)
    with grpc.insecure_channel(small.address, options=UNBOUNDED) as channel:
        call = channel.unary_unary(PREDICT.path)
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            with pytest.raises(grpc.RpcError) as caught:
                call(bytes(512 * MEBIBYTE), compression=compression, timeout=60)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            request = request_of(tone("jazz")).SerializeToString()
            assert call(request, compression=compression, timeout=60)
    assert peak_mebibytes(small.pid) - before < 64


def test_callers_that_send_nothing_give_their_room_back(small: ServerProcess) -> None:
    never = threading.Event()

    def silence():
        never.wait(60)
        yield from ()

    with grpc.insecure_channel(small.address) as channel:
        stalled = [
            channel.stream_unary(PREDICT.path).future(silence(), timeout=30) for _ in range(12)
        ]
        served = channel.unary_unary(PREDICT.path).future(
            request_of(tone("jazz")).SerializeToString(), timeout=30
        )
        try:
            codes = {call.code() for call in stalled}
            assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert served.code() in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
            again = channel.unary_unary(PREDICT.path)
            assert again(request_of(tone("jazz")).SerializeToString(), timeout=30)
        finally:
            never.set()


def test_budget_waits_for_readers_but_not_for_the_model() -> None:
    async def use() -> None:
        budget = ByteBudget(30, message_bytes=10)
        first, second, third = [await budget.read_lease(1) for _ in range(3)]
        waiting = asyncio.ensure_future(budget.read_lease(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.release()
        fourth = await waiting
        for lease in (second, third, fourth):
            lease.resize(8)
        assert budget.used_bytes == 24
        with pytest.raises(ServingError) as caught:  # 24 and a message of 10 are too much
            await budget.read_lease(60)
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(ServingError):
            second.resize(15)
        second.resize(14)  # just fits
        for lease in (second, third, fourth):
            lease.release()
        assert budget.used_bytes == 0

    asyncio.run(use())


def test_lease_is_given_back_by_its_last_user() -> None:
    async def use() -> None:
        budget = ByteBudget(10, message_bytes=10)
        lease = await budget.read_lease(1)
        lease.keep()
        lease.release()
        assert budget.used_bytes == 10
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            waiting = asyncio.ensure_future(budget.read_lease(60))
            await asyncio.sleep(0)
            executor.submit(lease.release).result()  # a run of the model ends in its thread
        (await waiting).release()
        assert budget.used_bytes == 0

    asyncio.run(use())


@pytest.mark.parametrize("fate", ["answered", "refused by the model", "cancelled"])
def test_answered_request_is_gone_without_the_garbage_collector(
    versions: dict[str, pathlib.Path], fate: str
) -> None:
    seen: list[weakref.ref] = []

    async def use(core) -> None:
        samples = tone("jazz") if fate != "refused by the model" else np.full(70_000, np.nan, "f")
        box = [request_of(samples)]
        read_message = core.reader(prediction.prepare_predict, box.pop)

        def read(record):
            call = read_message(record)
            seen.append(weakref.ref(call.inputs["audio"]))
            return call

        async def ask() -> None:
            lease = await core.budget.read_lease(1)
            try:
                record = CallRecord("grpc", "Predict", "test")
                with core.recorded(record):
                    await core.infer(read, Arrival(record, lease))
            finally:
                lease.release()

        asking = asyncio.ensure_future(ask())
        if fate == "cancelled":
            while not seen:
                await asyncio.sleep(0)
            asking.cancel()
        try:
            await asking
            assert fate == "answered"
        except ServingError:
            assert fate == "refused by the model"
        except asyncio.CancelledError:
            assert fate == "cancelled"
        del asking
        for _ in range(200):  # a run that has begun goes on, and ends in its thread
            if core.budget.used_bytes == 0 and seen[0]() is None:
                break
            await asyncio.sleep(0.01)
        assert core.budget.used_bytes == 0
        assert seen[0]() is None, gc.get_referrers(seen[0]())

    gc.collect()
    gc.disable()
    try:
        running_core(versions["right"], use)
    finally:
        gc.enable()
