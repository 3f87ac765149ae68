"""What the server holds for its callers: within bounds, and given back when they go."""

import asyncio
import contextlib
import gc
import json
import pathlib
import socket
import threading
import weakref

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods
from serving.server import check, decode, encode
from serving.server.access_log import CallRecord
from serving.server.batching import Outputs
from serving.server.errors import ServingError
from serving.server.loading import Signature
from serving.server.service import Service
from tests.serving.server_process import ServerProcess
from tests.serving.service_in_process import with_service
from tests.serving.test_rest import call as rest_call
from tests.serving.tone_model import SETTINGS, tone

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
PATIENT = ("--batch-timeout-ms", "600000", "--max-batch-size", "8", "--metrics-port", "0")
QUEUE_LENGTH = 16


def request_of(*, rows: int = 1, samples: int = SETTINGS.minimum_samples):
    request = message("PredictRequest")()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = "classify_audio"
    sound = np.stack([tone("jazz")[:samples]] * rows)
    request.inputs["audio"].CopyFrom(encode_tensor(sound))
    return request


def predict(channel: grpc.Channel):
    return channel.unary_unary(
        PREDICT.path,
        request_serializer=PREDICT.request.SerializeToString,
        response_deserializer=PREDICT.response.FromString,
    )


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]):
    """A server on IPv6 that waits for full batches, and whose access log has no room."""
    folder = tmp_path_factory.mktemp("patient")
    (folder / "genre").mkdir()
    (folder / "genre" / "1").symlink_to(versions["right"])
    flags = ["--model-base-path", str(folder / "genre"), *PATIENT, "--host", "::1"]
    flags += ["--read-seconds", "1", "--queue-length", str(QUEUE_LENGTH)]
    process = ServerProcess(folder, [*flags, "--access-log", "/dev/full"])
    try:
        yield process.wait_ready()
    finally:
        process.stop()


def test_ipv6_is_listened_on_and_a_log_that_cannot_be_written_fails_no_request(
    patient: ServerProcess,
) -> None:
    assert patient.address.startswith("[::1]:") and patient.rest_url.startswith("http://[::1]:")
    with grpc.insecure_channel(patient.address) as channel:
        assert predict(channel)(request_of(rows=8), timeout=60).model_spec.version.value == 1
    patient.wait_metric("gatefold_access_log_lines_lost", 1)
    assert rest_call(patient, "genre")[0] == 200
    patient.wait_metric("gatefold_access_log_lines_lost", 2)
    assert "Traceback" not in patient.output


@pytest.mark.parametrize("end", ["cancelled", "deadline", "hung up"])
def test_calls_whose_callers_go_leave_the_queue_and_are_not_run(
    patient: ServerProcess, end: str
) -> None:
    rows = patient.metric("gatefold_batch_rows_sum")
    with grpc.insecure_channel(patient.address) as channel:
        if end == "hung up":
            sound = tone("jazz")[: SETTINGS.minimum_samples].round(3).tolist()
            body = json.dumps({"signature_name": "classify_audio", "inputs": [sound]}).encode()
            with contextlib.closing(_connect(patient)) as caller:
                caller.sendall(_post(len(body)) + body)
                patient.wait_metric("gatefold_queue_length", 1)
        else:
            timeout = 60 if end == "cancelled" else 2
            futures = [predict(channel).future(request_of(), timeout=timeout) for _ in range(7)]
            patient.wait_metric("gatefold_queue_length", 7)
            check_health = health_pb2_grpc.HealthStub(channel).Check
            assert check_health(health_pb2.HealthCheckRequest(), timeout=30).status == 1
            assert rest_call(patient, "genre/metadata")[0] == 200
            for future in futures if end == "cancelled" else ():
                future.cancel()
        patient.wait_metric("gatefold_queue_length", 0)
        patient.wait_metric("gatefold_requests_held", 0)
        assert predict(channel)(request_of(rows=8), timeout=60)
    assert patient.metric("gatefold_batch_rows_sum") == rows + 8
    assert "Traceback" not in patient.output


def test_full_queue_refuses_before_the_request_is_sent(patient: ServerProcess) -> None:
    threads = patient.threads()
    with grpc.insecure_channel(patient.address) as channel:
        # Of different lengths, so that no batch is ever full.
        futures = [
            predict(channel).future(request_of(samples=SETTINGS.minimum_samples + n), timeout=60)
            for n in range(QUEUE_LENGTH)
        ]
        patient.wait_metric("gatefold_queue_length", QUEUE_LENGTH)
        assert patient.threads() < threads + QUEUE_LENGTH, "waiting calls hold no threads"
        with contextlib.closing(_connect(patient)) as caller:
            caller.sendall(_post(10_000_000))  # and none of the ten million bytes
            assert caller.recv(1000).startswith(b"HTTP/1.1 503 ")
        never = threading.Event()
        unsent = (never.wait() and b"" for _ in range(1))
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(PREDICT.path)(unsent, timeout=60)
        never.set()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert rest_call(patient, "genre")[0] == 200  # look-ups need no place
        for future in futures:
            future.cancel()
        patient.wait_metric("gatefold_requests_held", 0)
        assert predict(channel)(request_of(rows=8), timeout=60)  # and it recovers at once


def test_open_streams_of_one_connection_shut_nobody_out(patient: ServerProcess) -> None:
    separate = [("grpc.use_local_subchannel_pool", 1)]
    with (
        grpc.insecure_channel(patient.address, options=separate) as flooding,
        grpc.insecure_channel(patient.address, options=separate) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(flooding).Watch
        streams = [watch(health_pb2.HealthCheckRequest()) for _ in range(300)]
        assert next(streams[0]).status == 1
        check_health = health_pb2_grpc.HealthStub(channel).Check
        assert check_health(health_pb2.HealthCheckRequest(), timeout=30).status == 1
        assert predict(channel)(request_of(rows=8), timeout=60)
        for stream in streams:
            stream.cancel()


def test_body_that_does_not_come_is_refused(patient: ServerProcess) -> None:
    with contextlib.closing(_connect(patient)) as caller:
        caller.sendall(_post(1000) + b'{"instances"')
        answer = b"".join(iter(lambda: caller.recv(1000), b""))  # until it is hung up
    assert b" 504 " in answer.splitlines()[0]
    patient.wait_metric("gatefold_requests_held", 0)


def test_headers_and_trailers_without_end_are_refused(patient: ServerProcess) -> None:
    chunked = b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    for start in (b"GET /v1/models/genre HTTP/1.1\r\n", chunked + b"\r\n2\r\n{}\r\n0\r\n"):
        with contextlib.closing(_connect(patient)) as caller:
            caller.sendall(start)
            with pytest.raises(ConnectionError):
                for number in range(10_000):
                    caller.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
    assert rest_call(patient, "genre")[0] == 200


def test_caller_who_hangs_up_leaves_no_stack_trace(server: ServerProcess) -> None:
    long = json.dumps({"signature_name": "classify_audio", "inputs": [[0.5] * 1_000_000]}).encode()
    url = server.rest_url.rpartition(":")
    for sent in (_post(1000) + b'{"inst', _post(len(long)) + long):
        with contextlib.closing(socket.create_connection(("127.0.0.1", int(url[2])))) as caller:
            caller.sendall(sent)
    server.wait_metric("gatefold_requests_held", 0)
    assert rest_call(server, "genre")[0] == 200
    assert "Traceback" not in server.output and "ASGI" not in server.output


class Direct:
    """A Predict call that needs no network; notes the threads at work and the request's array."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples
        self.threads: list[threading.Thread] = []
        self.array: weakref.ref | None = None
        self.read = asyncio.Event()

    async def receive(self) -> bytes:
        request = request_of()
        request.inputs["audio"].CopyFrom(encode_tensor(self.samples[np.newaxis]))
        return request.SerializeToString()

    def parse(self, data: bytes):
        self.threads.append(threading.current_thread())
        return PREDICT.request.FromString(data)

    def spec(self, request):
        return request.model_spec

    def inputs(self, signature: Signature, request, limits: check.Limits):
        self.threads.append(threading.current_thread())
        arrays = decode.message_inputs(signature, request, limits)
        self.array = weakref.ref(arrays["audio"])
        return arrays

    def outputs(self, request):
        return ()

    def encode(self, call: check.Call, outputs: Outputs) -> bytes:
        self.threads.append(threading.current_thread())
        return encode.message_answer(call, outputs)


@pytest.mark.parametrize("fate", ["answered", "refused by the model", "cancelled"])
def test_answered_request_is_gone_without_the_garbage_collector(
    versions: dict[str, pathlib.Path], fate: str
) -> None:
    samples = tone("jazz") if fate != "refused by the model" else np.full(70_000, np.nan, "f")

    async def use(service: Service) -> None:
        exchange = Direct(samples)

        async def ask() -> None:
            record = CallRecord("grpc", "Predict", "test")
            with service.recorded(record):
                await service.predict(exchange, record)

        asking = asyncio.ensure_future(ask())
        while fate == "cancelled" and exchange.array is None:
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
        for _ in range(200):  # a run that has begun goes on, and ends in its thread
            if exchange.array() is None:
                break
            await asyncio.sleep(0.01)
        assert exchange.array() is None, gc.get_referrers(exchange.array())
        # The event loop is free for health while a request is read and answered.
        assert threading.current_thread() not in exchange.threads

    gc.collect()
    gc.disable()
    try:
        with_service(versions["right"], use)
    finally:
        gc.enable()


def _connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("::1", int(server.rest_url.rpartition(":")[2])), timeout=30)


def _post(length: int) -> bytes:
    head = f"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()
