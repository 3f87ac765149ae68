"""What one caller cannot do to the others: long names, open streams, connections that stay."""

import asyncio
import contextlib
import json
import resource
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods
from serving.server import rest_server
from serving.server.line_writer import LineWriter
from serving.server.settings import ServerSettings, listening_socket
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
CODE = grpc.StatusCode
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def predict(server: ServerProcess) -> Iterator[Callable]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel.unary_unary(
            PREDICT.path,
            request_serializer=PREDICT.request.SerializeToString,
            response_deserializer=PREDICT.response.FromString,
        )


def request_of(**fields: object):
    spec = {"name": "genre", "signature_name": "classify_audio"}
    spec |= {name: fields.pop(name) for name in tuple(fields) if name in ("version_label", *spec)}
    request = message("PredictRequest")(**fields)
    for name, value in spec.items():
        setattr(request.model_spec, name, value)
    request.inputs["audio"].CopyFrom(encode_tensor(tone("jazz")[None]))
    return request


def name_of_input(name: str):
    request = request_of()
    request.inputs[name].CopyFrom(request.inputs["audio"])
    return request


@pytest.mark.parametrize(
    ("request_of_name", "code"),
    [
        (lambda name: request_of(signature_name=name), CODE.FAILED_PRECONDITION),
        (lambda name: request_of(name=name), CODE.NOT_FOUND),
        (lambda name: request_of(version_label=name), CODE.INVALID_ARGUMENT),
        (lambda name: request_of(output_filter=[name]), CODE.INVALID_ARGUMENT),
        (name_of_input, CODE.INVALID_ARGUMENT),
    ],
)
@pytest.mark.parametrize("letter", ["n", "é", "\U0001f3b5"])
def test_long_name_is_refused_with_a_short_sentence(
    server: ServerProcess, predict: Callable, request_of_name: Callable, code: CODE, letter: str
) -> None:
    logged = len(server.access_log.read_bytes())
    with pytest.raises(grpc.RpcError) as caught:
        predict(request_of_name(letter * MEBIBYTE), timeout=60)
    assert caught.value.code() is code
    assert letter * 200 in caught.value.details()
    assert len(caught.value.details().encode()) < 1100
    line = next(iter(lines_after(server, logged)))
    assert len(line) < 4000


def test_long_name_in_a_body_is_refused_with_a_short_sentence(server: ServerProcess) -> None:
    logged = len(server.access_log.read_bytes())
    body = json.dumps({"signature_name": "n" * MEBIBYTE, "instances": [[0.5]]}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.rest_url}/v1/models/genre:predict", body, timeout=60)
    assert caught.value.code == 400
    assert len(caught.value.read()) < 1100
    line = next(iter(lines_after(server, logged)))
    assert len(line) < 4000


def lines_after(server: ServerProcess, start: int) -> Iterator[bytes]:
    while True:
        with server.access_log.open("rb") as log:
            log.seek(start)
            lines = log.read()
        if lines.endswith(b"\n"):
            yield from lines.splitlines()
            return


def test_lines_that_wait_are_bounded_in_bytes(tmp_path: Path) -> None:
    import os

    reading, writing = os.pipe()
    writer = LineWriter(writing)
    try:
        for _ in range(100):  # nobody reads the pipe
            writer.write("x" * MEBIBYTE)
        assert 90 <= writer.lost < 100
    finally:
        os.close(reading)
        assert writer.close(30)
        os.close(writing)


def test_output_filter_of_many_names_is_refused_before_it_is_parsed(predict: Callable) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        predict(request_of(output_filter=[""] * 300_000), timeout=60)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert "the PredictRequest is too large: " in caught.value.details()
    assert "more than 262144 values" in caught.value.details()


def test_open_streams_shut_nobody_out(server: ServerProcess, predict: Callable) -> None:
    never = asyncio.Event()

    async def silence() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        await never.wait()

    async def codes_of(answers: object) -> CODE:
        try:
            await anext_of(answers)
        except grpc.RpcError as error:
            assert "streams of health and reflection are open" in error.details()
            return error.code()
        return CODE.OK

    async def anext_of(answers) -> object:
        return await answers.__aiter__().__anext__()

    async def ask() -> list[CODE]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            streams = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(300)]
            streams += [reflection.ServerReflectionInfo(silence()) for _ in range(20)]
            codes = await asyncio.gather(*map(codes_of, streams))
            answer = await asyncio.to_thread(predict, request_of(), timeout=60)
            assert answer.model_spec.version.value == 2
            check = await health.Check(health_pb2.HealthCheckRequest())
            assert check.status == health_pb2.HealthCheckResponse.SERVING
            for stream in streams:
                stream.cancel()
            return codes

    codes = asyncio.run(ask())
    assert codes.count(CODE.OK) == 64
    assert codes.count(CODE.RESOURCE_EXHAUSTED) == 256


@contextlib.asynccontextmanager
async def listening(application: object, **settings: object) -> AsyncIterator[tuple]:
    """An ASGI application on a port: its address and the server."""
    server = rest_server.rest_server(application, ServerSettings(model_config="", **settings))
    sock = listening_socket("127.0.0.1", 0)
    address = sock.getsockname()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield address, server
    finally:
        server.should_exit = True
        await serving


async def answer_mebibytes(scope: dict, receive: object, send: Callable) -> None:
    """Answers with as many MiB as the path says."""
    size = int(scope["path"][1:]) * MEBIBYTE
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(size)})


def test_most_idle_connections_are_half_of_the_files_that_may_be_open() -> None:
    async def use() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Those of earlier tests in this process are open, too.
        most = 20 + max(int(opened.name) for opened in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * most, hard))
        try:
            half = listening(answer_mebibytes)
            address, server = await half.__aenter__()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        callers = []
        for number in range(most + 5):
            callers.append(await asyncio.open_connection(*address))
            while len(server.server_state.connections) != min(number + 1, most):
                await asyncio.sleep(0.005)
        for reader, _ in callers[:5]:  # those that have been idle the longest
            assert await reader.read() == b""
        for reader, writer in callers[5:]:
            writer.write(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, writer in callers:
            writer.close()
        await half.__aexit__(None, None, None)

    asyncio.run(use())


def test_answer_that_nobody_reads_is_dropped() -> None:
    def asking(address: tuple[str, int]) -> socket.socket:
        caller = socket.create_connection(address)
        caller.sendall(b"GET /64 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return caller

    def read_slowly(caller: socket.socket) -> int:
        with caller, caller.makefile("rb") as answer:
            return sum(len(part) for part in iter(lambda: answer.read(65_536), b""))

    async def use() -> None:
        async with listening(answer_mebibytes, read_seconds=0.5) as (address, server):
            with asking(address) as idle:
                while not server.server_state.connections:
                    await asyncio.sleep(0.01)
                while server.server_state.connections:
                    await asyncio.sleep(0.01)
                assert 0 < await asyncio.to_thread(read_all, idle) < 64 * MEBIBYTE
            reading = await asyncio.to_thread(asking, address)
            assert await asyncio.to_thread(read_slowly, reading) > 64 * MEBIBYTE

    def read_all(caller: socket.socket) -> int:
        total = 0
        with contextlib.suppress(ConnectionResetError):
            while part := caller.recv(MEBIBYTE):
                total += len(part)
        return total

    asyncio.run(use())
