"""Starting, stopping and killing a server."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import CallError, GenreClient, GenrePrediction
from tests.serving.server_process import ServerProcess
from tests.serving.test_holding import predict, request_of
from tests.serving.tone_model import tone, write_tone_model

pytestmark = pytest.mark.slow


def ask_until_answered(client: GenreClient) -> GenrePrediction:
    """Asks again after each call that found no server, two hundred times at most."""
    for _ in range(200):
        try:
            return client.classify_samples(tone("metal"))
        except CallError as error:
            assert error.code == "UNAVAILABLE"
    raise AssertionError("no server came")


def test_killed_server_starts_again_and_its_clients_go_on(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    base = tmp_path / "genre"
    base.mkdir()
    (base / "1").symlink_to(versions["right"])
    flags = ["--model-base-path", str(base)]
    first = ServerProcess(tmp_path / "first", flags)
    second = None
    try:
        first.wait_ready()
        with GenreClient(first.address) as client:
            assert client.classify_samples(tone("rock")).genre == "rock"
            first.send(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
            # The same port, at once; the client that is there keeps asking and is answered.
            with concurrent.futures.ThreadPoolExecutor() as executor:
                asked = executor.submit(ask_until_answered, client)
                second = ServerProcess(tmp_path / "second", [*flags, "--port", first.port])
                second.wait_ready()
                assert asked.result(timeout=60).genre == "metal"
        second.send(signal.SIGTERM)
        assert second.wait() == 0
        assert "Traceback" not in second.output
    finally:
        first.stop()
        if second is not None:
            second.stop()


def test_stop_answers_what_is_held_and_ends_watchers(tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    write_tone_model(tmp_path / "genre" / "1", gate=str(gate))
    flags = ["--model-base-path", str(tmp_path / "genre"), "--grace-seconds", "600"]
    process = ServerProcess(tmp_path / "run", flags)
    try:
        process.wait_ready()
        with grpc.insecure_channel(process.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            seen: list[int] = []
            watcher = threading.Thread(target=_collect, args=(watch, seen))
            watcher.start()
            held = [predict(channel).future(request_of()) for _ in range(6)]
            process.wait_metric("gatefold_requests_held", 6)
            process.send(signal.SIGTERM)
            process.wait_output("Stopping:")
            with pytest.raises(grpc.RpcError), grpc.insecure_channel(process.address) as late:
                predict(late)(request_of(), timeout=60)
            pipe = os.open(gate, os.O_RDWR)
            for future in held:
                assert future.result(timeout=60).model_spec.version.value == 1
            os.close(pipe)
            assert process.wait() == 0  # after a minute it would raise, and the grace is longer
            watcher.join()
        assert seen == [1, 2]  # SERVING, NOT_SERVING
        assert "Stopped." in process.output
        assert "Traceback" not in process.output
    finally:
        process.stop()


def _collect(watch, seen: list[int]) -> None:
    with contextlib.suppress(grpc.RpcError):
        seen.extend(answer.status for answer in watch)


def test_stop_while_a_model_loads_is_a_clean_end(tmp_path: pathlib.Path) -> None:
    version = tmp_path / "genre" / "1"
    version.mkdir(parents=True)
    os.mkfifo(version / "saved_model.pb")  # nobody writes to it, so its loading never ends
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ["--model-base-path", str(tmp_path / "genre"), "--rest-port", str(port)]
    process = ServerProcess(tmp_path / "run", [*flags, "--grace-seconds", "600"])
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


def test_stop_while_tensorflow_is_imported_is_a_clean_end(tmp_path: pathlib.Path) -> None:
    process = ServerProcess(tmp_path, ["--model-base-path", str(tmp_path)])
    try:
        process.wait_output("Loading TensorFlow")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.output.splitlines() == ["Loading TensorFlow …", "Stopped."]
    finally:
        process.stop()


@pytest.mark.parametrize("flag", ["--port", "--rest-port"])
def test_taken_port_is_a_sentence(server: ServerProcess, tmp_path: pathlib.Path, flag: str) -> None:
    process = ServerProcess(tmp_path, ["--model-base-path", str(tmp_path), flag, server.port])
    try:
        assert process.wait(30) == 2
        assert f"127.0.0.1, {flag} {server.port}" in process.output
        assert "Traceback" not in process.output
        assert "Loading TensorFlow" not in process.output
    finally:
        process.stop()
