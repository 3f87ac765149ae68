"""Starting, stopping, killing, overloading, encrypting and watching a server."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import threading
import time
import urllib.parse
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import CallError, GenreClient, GenrePrediction, Tls
from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

PREDICT = methods(PREDICTION_SERVICE)["Predict"]
pytestmark = pytest.mark.slow


def long_request(model: str = "genre", *, seconds: float = 240.0):
    """A request that keeps the model busy for a while."""
    request = message("PredictRequest")()
    request.model_spec.name = model
    request.model_spec.signature_name = "classify_audio"
    request.inputs["audio"].CopyFrom(encode_tensor(tone("jazz", seconds=seconds)[np.newaxis]))
    return request


def stub(channel: grpc.Channel):
    return channel.unary_unary(
        PREDICT.path,
        request_serializer=PREDICT.request.SerializeToString,
        response_deserializer=PREDICT.response.FromString,
    )


def open_channel(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])


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


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
    versions: dict[str, pathlib.Path],
    certificates: pathlib.Path,
):
    """A server that asks for client certificates and holds next to nothing."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "genre").mkdir()
    (folder / "genre" / "5").symlink_to(versions["right"])
    process = ServerProcess(
        folder,
        [
            *("--model-base-path", str(folder / "genre")),
            *("--tls-certificate", str(certificates / "server.pem")),
            *("--tls-key", str(certificates / "server.key")),
            *("--tls-client-ca", str(certificates / "ca.pem")),
            *("--queue-length", "2", "--batch-timeout-ms", "500"),
            *("--metrics-port", "0"),
        ],
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


def test_encrypted_server_takes_only_clients_with_a_certificate(
    guarded: ServerProcess, certificates: pathlib.Path
) -> None:
    ca, mine = certificates / "ca.pem", certificates / "client.pem"
    known = Tls(server_ca=ca, certificate=mine, key=certificates / "client.key")
    with GenreClient(guarded.address, tls=known) as client:
        assert client.classify_samples(tone("pop")).genre == "pop"
    for tls in (Tls(server_ca=ca), None):
        with GenreClient(guarded.address, tls=tls) as client:
            with pytest.raises(CallError) as caught:
                client.versions()
            assert caught.value.code == "UNAVAILABLE"


def test_rest_and_metrics_are_encrypted_too(
    guarded: ServerProcess, certificates: pathlib.Path
) -> None:
    import ssl

    urls = (f"{guarded.rest_url}/v1/models/genre", guarded.metrics_url)
    for url in urls:
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        assert url.startswith("https://")
        for attempt in (url, url.replace("https", "http")):
            with pytest.raises((OSError, http.client.HTTPException)):
                urllib.request.urlopen(attempt, context=context, timeout=10).read()
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        with urllib.request.urlopen(url, context=context, timeout=10) as response:
            text = response.read()
        assert b"gatefold" in text or json.loads(text)["model_version_status"][0]["version"] == "5"


def test_connection_that_says_nothing_does_not_block_the_metrics(
    guarded: ServerProcess, certificates: pathlib.Path
) -> None:
    import ssl

    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    port = urllib.parse.urlsplit(guarded.metrics_url).port
    with (
        socket.create_connection(("localhost", port)),
        urllib.request.urlopen(guarded.metrics_url, context=context, timeout=30) as response,
    ):
        assert b"gatefold_requests_held" in response.read()


def test_overload_is_refused_at_once_and_passes(
    guarded: ServerProcess, certificates: pathlib.Path
) -> None:
    credentials = grpc.ssl_channel_credentials(
        (certificates / "ca.pem").read_bytes(),
        (certificates / "client.key").read_bytes(),
        (certificates / "client.pem").read_bytes(),
    )
    options = [("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(guarded.address, credentials, options=options) as channel:
        predict = stub(channel)
        futures = [predict.future(long_request(seconds=3), timeout=60) for _ in range(16)]
        codes = [future.code() for future in futures]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert codes.count(grpc.StatusCode.OK) >= 2
        assert predict(long_request(seconds=3), timeout=30).model_spec.version.value == 5


def test_metrics_count_what_happened(server: ServerProcess) -> None:
    calls = {"protocol": "grpc", "method": "Predict", "model": "genre", "status": "OK"}
    before = server.metric("gatefold_requests_total", **calls)
    runs = server.metric("gatefold_batch_rows_count")
    with GenreClient(server.address) as client:
        client.classify_samples(tone("pop"))
    assert server.metric("gatefold_requests_total", **calls) == before + 1
    assert server.metric("gatefold_batch_rows_count") == runs + 1
    assert server.metric("gatefold_request_latency_seconds_count", method="Predict") > 0
    assert server.metric("gatefold_queue_length") == 0
    assert server.metric("gatefold_model_version", model="genre", version="2") == 1
    monitoring = f"{server.rest_url}/monitoring/prometheus/metrics"  # TF Serving's address
    assert server.metric("gatefold_model_version", monitoring, model="genre", version="1") == 1


def test_access_log_has_a_line_of_json_a_call(server: ServerProcess) -> None:
    before = len(server.access_log.read_text())
    with GenreClient(server.address) as client:
        client.classify_samples(tone("pop"))
        with pytest.raises(CallError):
            GenreClient(server.address, model="mood").classify_samples(tone("pop"))
    end = time.monotonic() + 30
    while len(lines := server.access_log.read_text()[before:].splitlines()) < 2:
        assert time.monotonic() < end, lines
        time.sleep(0.02)
    good, bad = map(json.loads, lines)
    assert good["model"] == "genre"
    assert (good["version"], good["signature"], good["rows"]) == (2, "classify_wav", 1)
    assert (good["status"], good["protocol"], good["method"]) == ("OK", "grpc", "Predict")
    assert good["milliseconds"] > 0
    assert bad["status"] == "NOT_FOUND"
    assert "mood" in bad["error"]
    assert good["peer"].startswith("ipv4:127.0.0.1:")


def test_access_log_that_is_moved_away_is_opened_anew(server: ServerProcess) -> None:
    moved = server.access_log.with_suffix(".1")
    server.access_log.rename(moved)  # as logrotate does
    url = f"{server.rest_url}/v1/models/genre"
    request = urllib.request.Request(url, headers={"X-Forwarded-For": "192.0.2.7"})
    end = time.monotonic() + 30
    while not (server.access_log.exists() and server.access_log.read_text().endswith("\n")):
        urllib.request.urlopen(request, timeout=30).read()
        assert time.monotonic() < end
        time.sleep(0.02)
    line = json.loads(server.access_log.read_text().splitlines()[0])
    assert line["method"] == "GetModelStatus"
    assert line["peer"].startswith("127.0.0.1:"), "no proxy is trusted by default"


def test_stop_answers_what_is_held_and_ends_watchers(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    """Though nobody reads the access log, a pipe."""
    pipe = tmp_path / "access.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "genre").mkdir()
    (tmp_path / "genre" / "1").symlink_to(versions["right"])
    flags = ["--model-base-path", str(tmp_path / "genre"), "--batch-timeout-ms", "600000"]
    flags += ["--metrics-port", "0", "--access-log", str(pipe), "--grace-seconds", "600"]
    process = ServerProcess(tmp_path / "run", flags)
    try:
        process.wait_ready()
        with open_channel(process.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            seen: list[int] = []
            watcher = threading.Thread(target=_collect, args=(watch, seen))
            watcher.start()
            for _ in range(800):  # 150 bytes a line, and a pipe holds 64 KiB
                urllib.request.urlopen(f"{process.rest_url}/v1/models/genre", timeout=30).read()
            held = [stub(channel).future(long_request(seconds=3 + n)) for n in range(6)]
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


@pytest.mark.parametrize("flag", ["--port", "--rest-port", "--metrics-port"])
def test_taken_port_is_a_sentence(server: ServerProcess, tmp_path: pathlib.Path, flag: str) -> None:
    process = ServerProcess(tmp_path, ["--model-base-path", str(tmp_path), flag, server.port])
    try:
        assert process.wait(30) == 2
        assert f"127.0.0.1, {flag} {server.port}" in process.output
        assert "Traceback" not in process.output
        assert "Loading TensorFlow" not in process.output
    finally:
        process.stop()
