"""A server whose requests wait in the queue until a batch is full: what others see meanwhile."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol import MODEL_SERVICE, PREDICTION_SERVICE, encode_tensor, message, methods
from tests.serving.server_process import ServerProcess
from tests.serving.test_rest import call as rest_call
from tests.serving.tone_model import SETTINGS, tone

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
MODELS = methods(MODEL_SERVICE)
pytestmark = pytest.mark.slow
PATIENT = ("--batch-timeout-ms", "600000", "--max-batch-size", "8", "--metrics-port", "0")


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


def flags_of(folder: pathlib.Path, version: pathlib.Path) -> list[str]:
    base = folder / "genre"
    base.mkdir()
    (base / "1").symlink_to(version)
    return ["--model-base-path", str(base), *PATIENT]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]):
    """A patient server on IPv6 whose access log has no room, and which reads for a second."""
    folder = tmp_path_factory.mktemp("patient")
    flags = [*flags_of(folder, versions["right"]), "--host", "::1", "--read-seconds", "1"]
    process = ServerProcess(folder, [*flags, "--access-log", "/dev/full"])
    try:
        yield process.wait_ready()
    finally:
        process.stop()


def test_ipv6_is_listened_on(patient: ServerProcess) -> None:
    assert patient.address.startswith("[::1]:")
    assert patient.rest_url.startswith("http://[::1]:")
    with grpc.insecure_channel(patient.address) as channel:
        answer = predict(channel)(request_of(rows=8), timeout=60)
        assert answer.model_spec.version.value == 1
    assert rest_call(patient, "genre")[0] == 200
    assert patient.metric("gatefold_model_version", version="1") == 1


def test_log_that_cannot_be_written_fails_no_request(patient: ServerProcess) -> None:
    lost = patient.metric("gatefold_access_log_lines_lost")
    assert rest_call(patient, "genre")[0] == 200
    patient.wait_metric("gatefold_access_log_lines_lost", lost + 1)
    assert "Traceback" not in patient.output


def test_cancelled_calls_leave_the_queue_and_are_not_run(patient: ServerProcess) -> None:
    rows = patient.metric("gatefold_batch_rows_sum")
    with grpc.insecure_channel(patient.address) as channel:
        futures = [predict(channel).future(request_of(), timeout=60) for _ in range(7)]
        patient.wait_metric("gatefold_queue_length", 7)
        for future in futures:
            future.cancel()
        patient.wait_metric("gatefold_queue_length", 0)
        patient.wait_metric("gatefold_request_memory_bytes", 0)
        assert predict(channel)(request_of(rows=8), timeout=60)
    assert patient.metric("gatefold_batch_rows_sum") == rows + 8


def test_calls_past_their_deadline_leave_the_queue_and_are_not_run(patient: ServerProcess) -> None:
    rows = patient.metric("gatefold_batch_rows_sum")
    with grpc.insecure_channel(patient.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            predict(channel)(request_of(), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        patient.wait_metric("gatefold_queue_length", 0)
        assert predict(channel)(request_of(rows=8), timeout=60)
    assert patient.metric("gatefold_batch_rows_sum") == rows + 8


def test_rest_caller_who_hangs_up_leaves_the_queue(patient: ServerProcess) -> None:
    sound = tone("jazz")[: SETTINGS.minimum_samples].round(3).tolist()
    body = json.dumps({"signature_name": "classify_audio", "inputs": [sound]}).encode()
    with contextlib.closing(_connect(patient)) as caller:
        caller.sendall(_post(len(body)) + body)
        patient.wait_metric("gatefold_queue_length", 1)
    patient.wait_metric("gatefold_queue_length", 0)
    patient.wait_metric("gatefold_request_memory_bytes", 0)
    assert "Traceback" not in patient.output


def test_waiting_calls_hold_no_threads(patient: ServerProcess) -> None:
    threads = patient.threads()
    with grpc.insecure_channel(patient.address) as channel:
        # Of different lengths, so that no batch is ever full.
        futures = [
            predict(channel).future(
                request_of(samples=SETTINGS.minimum_samples + number), timeout=60
            )
            for number in range(100)
        ]
        patient.wait_metric("gatefold_queue_length", 100)
        assert patient.threads() < threads + 16
        for future in futures:
            future.cancel()
        patient.wait_metric("gatefold_queue_length", 0)


def test_full_queue_refuses_before_the_request_is_sent(patient: ServerProcess) -> None:
    with grpc.insecure_channel(patient.address) as channel:
        # Of different lengths, so that no batch is ever full.
        futures = [
            predict(channel).future(request_of(samples=SETTINGS.minimum_samples + n), timeout=60)
            for n in range(128)
        ]
        patient.wait_metric("gatefold_queue_length", 128)
        with contextlib.closing(_connect(patient)) as caller:
            caller.sendall(_post(10_000_000))  # and none of the ten million bytes
            assert caller.recv(1000).startswith(b"HTTP/1.1 503 ")
        never = threading.Event()
        unsent = (never.wait() and b"" for _ in range(1))
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(PREDICT.path)(unsent, timeout=60)
        never.set()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "queue to which this task was submitted is full" in caught.value.details()
        assert rest_call(patient, "genre")[0] == 200  # look-ups need no place
        for future in futures:
            future.cancel()
        patient.wait_metric("gatefold_queue_length", 0)
        assert predict(channel)(request_of(rows=8), timeout=60)  # and it recovers at once


def test_health_and_look_ups_are_answered_while_calls_wait(patient: ServerProcess) -> None:
    with grpc.insecure_channel(patient.address) as channel:
        waiting = predict(channel).future(request_of(), timeout=60)
        patient.wait_metric("gatefold_queue_length", 1)
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(health_pb2.HealthCheckRequest(), timeout=30).status == 1
        assert rest_call(patient, "genre/metadata")[0] == 200
        assert not waiting.done()
        waiting.cancel()
        patient.wait_metric("gatefold_queue_length", 0)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/mod", b"GET /v1/models/genre HTTP/1.1\r\nA: b"])
def test_headers_that_do_not_come_end_the_connection(patient: ServerProcess, sent: bytes) -> None:
    with contextlib.closing(_connect(patient)) as caller:
        caller.sendall(sent)
        assert caller.recv(1000) == b""


def test_headers_without_end_are_refused(patient: ServerProcess) -> None:
    with contextlib.closing(_connect(patient)) as caller:
        caller.sendall(b"GET /v1/models/genre HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(10_000):
                caller.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        with contextlib.suppress(ConnectionError):
            assert b" 400 " in caller.recv(1000)
    assert rest_call(patient, "genre")[0] == 200


def test_body_that_does_not_come_is_refused(patient: ServerProcess) -> None:
    with contextlib.closing(_connect(patient)) as caller:
        caller.sendall(_post(1000) + b'{"instances"')
        answer = b"".join(iter(lambda: caller.recv(1000), b""))  # until it is hung up
    assert b" 408 " in answer.splitlines()[0]
    assert b"the request did not arrive within 1 s" in answer
    patient.wait_metric("gatefold_request_memory_bytes", 0)


def test_callers_may_not_change_what_is_served(patient: ServerProcess) -> None:
    method = MODELS["HandleReloadConfigRequest"]
    with grpc.insecure_channel(patient.address) as channel:
        reload = channel.unary_unary(method.path, method.request.SerializeToString)
        with pytest.raises(grpc.RpcError) as caught:
            reload(method.request(), timeout=30)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "--allow-reload" in caught.value.details()
    assert rest_call(patient, "genre")[0] == 200


def test_forwarded_addresses_are_not_believed(server: ServerProcess) -> None:
    before = len(server.access_log.read_text())
    request = urllib.request.Request(
        f"{server.rest_url}/v1/models/genre", headers={"X-Forwarded-For": "192.0.2.7"}
    )
    urllib.request.urlopen(request, timeout=30).read()
    end = time.monotonic() + 30
    while not (lines := server.access_log.read_text()[before:].splitlines()):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert json.loads(lines[-1])["peer"].startswith("127.0.0.1:")


def test_stop_ends_watchers_and_answers_what_is_held(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    """Though nobody reads the access log, a pipe."""
    pipe = tmp_path / "access.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    flags = [*flags_of(tmp_path, versions["right"]), "--access-log", str(pipe)]
    process = ServerProcess(tmp_path / "run", [*flags, "--grace-seconds", "600"])
    try:
        process.wait_ready()
        with grpc.insecure_channel(process.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            seen: list[int] = []
            watcher = threading.Thread(target=_collect, args=(watch, seen))
            watcher.start()
            status = channel.unary_unary(MODELS["GetModelStatus"].path)
            asked = message("GetModelStatusRequest")(model_spec={"name": "genre"})
            for _ in range(800):  # 150 bytes a line, and a pipe holds 64 KiB
                status(asked.SerializeToString(), timeout=30)
            held = [
                predict(channel).future(request_of(samples=SETTINGS.minimum_samples + n))
                for n in range(6)
            ]
            process.wait_metric("gatefold_queue_length", 6)
            process.send(signal.SIGTERM)
            for future in held:
                assert future.result(timeout=60).model_spec.version.value == 1
            assert process.wait() == 0  # after a minute it would raise, and the grace is longer
            watcher.join()
        assert seen == [1, 2]  # SERVING, NOT_SERVING
        assert "Stopped." in process.output
        assert "Traceback" not in process.output
    finally:
        process.stop()
        os.close(reader)


def _collect(watch, seen: list[int]) -> None:
    with contextlib.suppress(grpc.RpcError):
        seen.extend(answer.status for answer in watch)


def test_stop_while_a_model_loads_is_a_clean_end(tmp_path: pathlib.Path) -> None:
    version = tmp_path / "version"
    version.mkdir()
    os.mkfifo(version / "saved_model.pb")  # nobody writes to it, so its loading never ends
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [*flags_of(tmp_path, version), "--rest-port", str(port), "--grace-seconds", "600"]
    process = ServerProcess(tmp_path / "run", flags)
    try:
        end = time.monotonic() + 60
        while True:  # it listens before it loads
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert time.monotonic() < end, process.output
            time.sleep(0.05)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Stopped." in process.output
        assert "Traceback" not in process.output
    finally:
        process.stop()


def _connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("::1", int(server.rest_url.rpartition(":")[2])), timeout=30)


def _post(length: int) -> bytes:
    head = f"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()
