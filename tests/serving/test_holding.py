"""What the server holds for its callers: within bounds, and given back when they go."""

import asyncio
import base64
import concurrent.futures
import contextlib
import gc
import json
import os
import pathlib
import socket
import threading
import time
import weakref
from collections.abc import Iterator

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from components.gtzan.genres import GENRES
from serving.protocol import PREDICTION_SERVICE, decode_tensor, encode_tensor, message, methods
from serving.server import decode, encode
from serving.server.errors import ServingError
from serving.server.metrics import CallRecord
from serving.server.service import Service
from tests.serving.server_process import ServerProcess
from tests.serving.service_in_process import with_service
from tests.serving.test_rest import call as rest_call
from tests.serving.tone_model import SETTINGS, serialized_example, tone, write_tone_model

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
MEBIBYTE = 1 << 20
QUEUE_LENGTH = 16


def request_of(samples: np.ndarray | None = None):
    request = message("PredictRequest")()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = "classify_audio"
    sound = tone("jazz")[: SETTINGS.minimum_samples] if samples is None else samples
    request.inputs["audio"].CopyFrom(encode_tensor(sound[np.newaxis]))
    return request


def predict(channel: grpc.Channel):
    return channel.unary_unary(
        PREDICT.path,
        request_serializer=PREDICT.request.SerializeToString,
        response_deserializer=PREDICT.response.FromString,
    )


class Gate:
    """A pipe that the runs of a model wait for."""

    def __init__(self, path: pathlib.Path) -> None:
        os.mkfifo(path)
        self.path = path

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Lets runs pass inside the block."""
        pipe = os.open(self.path, os.O_RDWR)
        try:
            yield
        finally:
            os.close(pipe)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "gate")


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[ServerProcess]:
    """A server on IPv6 of a model that runs when its gate is opened, with a short queue."""
    folder = tmp_path_factory.mktemp("gated")
    write_tone_model(folder / "genre" / "1", gate=str(gate.path))
    flags = ["--model-base-path", str(folder / "genre"), "--host", "::1"]
    flags += ["--read-seconds", "1", "--queue-length", str(QUEUE_LENGTH)]
    process = ServerProcess(folder, flags)
    try:
        yield process.wait_ready()
    finally:
        process.stop()


def assert_answers(server: ServerProcess, gate: Gate) -> None:
    """Nothing is held any more, and a request is answered at once."""
    server.wait_metric("gatefold_requests_held", 0)
    with gate.opened(), grpc.insecure_channel(server.address) as channel:
        assert predict(channel)(request_of(), timeout=60).model_spec.version.value == 1
    assert "Traceback" not in server.output


@pytest.mark.parametrize("end", ["cancelled", "deadline", "hung up"])
def test_calls_whose_callers_go_leave_the_queue_and_are_not_run(
    gated: ServerProcess, gate: Gate, end: str
) -> None:
    assert gated.address.startswith("[::1]:") and gated.rest_url.startswith("http://[::1]:")
    runs = gated.metric("gatefold_run_seconds_count")
    with grpc.insecure_channel(gated.address) as channel, contextlib.ExitStack() as callers:
        running = predict(channel).future(request_of(), timeout=60)
        gated.wait_metric("gatefold_requests_held", 1)
        gated.wait_metric("gatefold_queue_length", 0)
        if end == "hung up":
            sound = tone("jazz")[: SETTINGS.minimum_samples].round(3).tolist()
            body = json.dumps({"signature_name": "classify_audio", "inputs": [sound]}).encode()
            caller = callers.enter_context(contextlib.closing(_connect(gated)))
            caller.sendall(_post(len(body)) + body)
            gated.wait_metric("gatefold_requests_held", 2)
        else:
            timeout = 60 if end == "cancelled" else 2
            waiting = [predict(channel).future(request_of(), timeout=timeout) for _ in range(7)]
            gated.wait_metric("gatefold_requests_held", 8)
            check_health = health_pb2_grpc.HealthStub(channel).Check
            assert check_health(health_pb2.HealthCheckRequest(), timeout=30).status == 1
            assert rest_call(gated, "genre/metadata")[0] == 200
            for future in waiting if end == "cancelled" else ():
                future.cancel()
        callers.close()
        gated.wait_metric("gatefold_requests_held", 1)
        with gate.opened():
            assert running.result(timeout=60)
    assert_answers(gated, gate)
    assert gated.metric("gatefold_run_seconds_count") == runs + 2


def test_full_queue_refuses_before_the_request_is_sent(gated: ServerProcess, gate: Gate) -> None:
    with grpc.insecure_channel(gated.address) as channel:
        futures = [predict(channel).future(request_of(), timeout=60) for _ in range(QUEUE_LENGTH)]
        gated.wait_metric("gatefold_requests_held", QUEUE_LENGTH)
        with contextlib.closing(_connect(gated)) as caller:
            caller.sendall(_post(10_000_000))  # and none of the ten million bytes
            assert caller.recv(1000).startswith(b"HTTP/1.1 503 ")
        never = threading.Event()
        unsent = (never.wait() and b"" for _ in range(1))
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(PREDICT.path)(unsent, timeout=60)
        never.set()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert rest_call(gated, "genre")[0] == 200  # look-ups need no room
        with gate.opened():
            for future in futures:
                assert future.result(timeout=60)
    assert_answers(gated, gate)


def test_waiting_requests_of_one_length_share_a_run_and_one_bad_fails_no_other(
    gated: ServerProcess, gate: Gate
) -> None:
    runs = gated.metric("gatefold_run_seconds_count")
    sounds = {genre: tone(genre, seconds=3 + index % 2) for index, genre in enumerate(GENRES[:6])}
    bad = np.full_like(tone("pop", seconds=3), np.nan)
    with grpc.insecure_channel(gated.address) as channel:
        first = predict(channel).future(request_of(), timeout=60)
        gated.wait_metric("gatefold_requests_held", 1)
        gated.wait_metric("gatefold_queue_length", 0)
        futures = {
            genre: predict(channel).future(request_of(sound), timeout=60)
            for genre, sound in sounds.items()
        }
        refused = predict(channel).future(request_of(bad), timeout=60)
        gated.wait_metric("gatefold_queue_length", 7)
        with gate.opened():
            assert first.result()
            for genre, future in futures.items():
                probabilities = decode_tensor(future.result().outputs["probabilities"])
                assert GENRES[probabilities.argmax()] == genre
            assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    gated.wait_metric("gatefold_requests_held", 0)
    assert gated.metric("gatefold_run_seconds_count") == runs + 3, "the first, 3 s, 4 s"


def test_requests_at_the_same_time_get_their_own_answers(server: ServerProcess) -> None:
    """Of several lengths, and one in five of them refused."""
    with grpc.insecure_channel(server.address) as channel:

        def ask(number: int) -> None:
            sound = tone(GENRES[number % 10], seconds=3 + number % 3)
            if number % 5 == 4:
                sound[1000] = np.nan
            try:
                outputs = predict(channel)(request_of(sound), timeout=60).outputs
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and number % 5 == 4
                return
            probabilities = decode_tensor(outputs["probabilities"])
            windows = decode_tensor(outputs["window_probabilities"])
            assert probabilities.argmax() == number % 10 and number % 5 != 4
            assert windows.shape == (1, (3 + number % 3) // 3, 10)

        with concurrent.futures.ThreadPoolExecutor(32) as callers:
            list(callers.map(ask, range(100)))


def test_open_streams_of_one_connection_shut_nobody_out(gated: ServerProcess, gate: Gate) -> None:
    separate = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(gated.address, options=separate) as flooding:
        watch = health_pb2_grpc.HealthStub(flooding).Watch
        streams = [watch(health_pb2.HealthCheckRequest()) for _ in range(300)]
        assert next(streams[0]).status == 1
        assert_answers(gated, gate)
        for stream in streams:
            stream.cancel()


def test_body_that_does_not_come_is_refused(gated: ServerProcess, gate: Gate) -> None:
    with contextlib.closing(_connect(gated)) as caller:
        caller.sendall(_post(1000) + b'{"instances"')
        answer = b"".join(iter(lambda: caller.recv(1000), b""))  # until it is hung up
    assert b" 504 " in answer.splitlines()[0]
    assert_answers(gated, gate)


def test_headers_and_trailers_without_end_are_refused(gated: ServerProcess, gate: Gate) -> None:
    chunked = b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    for start in (b"GET /v1/models/genre HTTP/1.1\r\n", chunked + b"\r\n2\r\n{}\r\n0\r\n"):
        with contextlib.closing(_connect(gated)) as caller:
            caller.sendall(start)
            with pytest.raises(ConnectionError):
                for number in range(10_000):
                    caller.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
    assert_answers(gated, gate)


def test_message_that_unpacks_to_more_than_the_limit_is_refused(
    gated: ServerProcess, gate: Gate
) -> None:
    """256 MiB of zeros are 256 KiB in gzip."""
    bomb = bytes(256 * MEBIBYTE)
    process = psutil.Process(gated.pid)
    before = process.memory_info().rss
    unbounded = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(gated.address, options=unbounded) as channel:
        call = channel.unary_unary(PREDICT.path)
        with pytest.raises(grpc.RpcError) as caught:
            call(bomb, timeout=60, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert process.memory_info().rss - before < 64 * MEBIBYTE
    assert_answers(gated, gate)


def test_callers_that_never_read_their_answers_shut_nobody_out(server: ServerProcess) -> None:
    """Answers of features, more than the buffers of a small socket take."""
    example = base64.b64encode(serialized_example(tone("jazz", seconds=30.0))).decode()
    body = json.dumps(
        {"signature_name": "transform_features", "instances": [{"b64": example}] * 8}
    ).encode()
    calls = {"protocol": "rest", "method": "Predict", "status": "OK"}
    answered = server.metric("gatefold_requests_total", **calls)
    with contextlib.ExitStack() as callers:
        port = int(server.rest_url.rpartition(":")[2])
        for _ in range(10):
            caller = socket.socket()
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            caller.connect(("127.0.0.1", port))
            callers.callback(caller.close)
            caller.sendall(_post(len(body)) + body)
        end = time.monotonic() + 60
        while server.metric("gatefold_requests_total", **calls) < answered + 10:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert server.metric("gatefold_requests_held") == 0
        with grpc.insecure_channel(server.address) as channel:
            assert predict(channel)(request_of(), timeout=60)
    assert rest_call(server, "genre")[0] == 200
    assert "Traceback" not in server.output


def test_caller_who_hangs_up_leaves_no_stack_trace(server: ServerProcess) -> None:
    long = json.dumps({"signature_name": "classify_audio", "inputs": [[0.5] * 1_000_000]}).encode()
    port = int(server.rest_url.rpartition(":")[2])
    for sent in (_post(1000) + b'{"inst', _post(len(long)) + long):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as caller:
            caller.sendall(sent)
    server.wait_metric("gatefold_requests_held", 0)
    assert rest_call(server, "genre")[0] == 200
    assert "Traceback" not in server.output and "ASGI" not in server.output


@pytest.mark.parametrize("fate", ["answered", "refused by the model", "cancelled"])
def test_answered_request_is_gone_without_the_garbage_collector(
    versions: dict[str, pathlib.Path], fate: str
) -> None:
    samples = tone("jazz") if fate != "refused by the model" else np.full(70_000, np.nan, "f")

    async def use(service: Service) -> None:
        arrays: list[weakref.ref] = []
        threads: list[threading.Thread] = []

        async def receive() -> bytes:
            return request_of(samples).SerializeToString()

        def decoded(*arguments):
            threads.append(threading.current_thread())
            call = decode.message_call(*arguments)
            arrays.append(weakref.ref(call.inputs["audio"]))
            return call

        def encoded(*arguments):
            threads.append(threading.current_thread())
            return encode.message_answer(*arguments)

        async def ask() -> None:
            record = CallRecord("grpc", "Predict")
            with service.recorded(record):
                await service.predict(record, receive, decoded, encoded)

        asking = asyncio.ensure_future(ask())
        while fate == "cancelled" and not arrays:
            await asyncio.sleep(0)
        if fate == "cancelled":
            asking.cancel()
        try:
            await asking
            assert fate == "answered"
        except ServingError:
            assert fate == "refused by the model"
        except asyncio.CancelledError:
            assert fate == "cancelled"
        asking = None
        for _ in range(200):  # the thread that was at work lets go of it a little later
            if arrays[0]() is None:
                break
            await asyncio.sleep(0.01)
        assert arrays[0]() is None, gc.get_referrers(arrays[0]())
        # The event loop is free for health while a request is read and answered.
        assert threading.current_thread() not in threads

    gc.collect()
    gc.disable()
    try:
        with_service(versions["right"], use)
    finally:
        gc.enable()


def test_metrics_count_what_happened(server: ServerProcess) -> None:
    calls = {"protocol": "grpc", "method": "Predict", "model": "genre", "status": "OK"}
    before = server.metric("gatefold_requests_total", **calls)
    runs = server.metric("gatefold_run_seconds_count")
    with grpc.insecure_channel(server.address) as channel:
        predict(channel)(request_of(), timeout=60)
    assert server.metric("gatefold_requests_total", **calls) == before + 1
    assert server.metric("gatefold_run_seconds_count") == runs + 1
    assert server.metric("gatefold_request_latency_seconds_count", method="Predict") > 0
    assert server.metric("gatefold_requests_held") == 0
    assert server.metric("gatefold_model_version", model="genre", version="2") == 1


def _connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("::1", int(server.rest_url.rpartition(":")[2])), timeout=30)


def _post(length: int) -> bytes:
    head = f"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()
