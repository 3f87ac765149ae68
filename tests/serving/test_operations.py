"""Starting, stopping, killing, overloading, encrypting and watching a server."""

import concurrent.futures
import datetime
import ipaddress
import json
import os
import pathlib
import signal
import time
import urllib.request

import grpc
import numpy as np
import pytest

from serving.client import CallError, GenreClient, Tls
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


def test_killed_server_starts_again_and_stops_gracefully(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    base = tmp_path / "genre"
    base.mkdir()
    (base / "1").symlink_to(versions["right"])
    flags = ["--model-base-path", str(base), "--max-batch-size", "1"]
    first = ServerProcess(tmp_path / "first", flags)
    second = None
    try:
        first.wait_ready()
        with GenreClient(first.address, timeout_seconds=120, attempts=100) as client:
            assert client.classify_samples(tone("rock")).genre == "rock"
            first.send(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
            # The same port, at once; the client that is there keeps asking and is answered.
            with concurrent.futures.ThreadPoolExecutor() as executor:
                asked = executor.submit(client.classify_samples, tone("metal"))
                second = ServerProcess(tmp_path / "second", [*flags, "--port", first.port])
                second.wait_ready()
                assert asked.result(timeout=60).genre == "metal"

        with open_channel(second.address) as channel:
            predict = stub(channel)
            held = [predict.future(long_request(), timeout=60) for _ in range(6)]
            time.sleep(0.3)
            second.send(signal.SIGTERM)
            second.wait_output("Stopping")
            with open_channel(second.address) as other, pytest.raises(grpc.RpcError) as caught:
                stub(other)(long_request(seconds=3), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            for future in held:
                assert future.result().model_spec.version.value == 1
        assert second.wait() == 0
        assert "Traceback" not in second.output
    finally:
        first.stop()
        if second is not None:
            second.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with ca.pem, and server and client certificates that it signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.timezone.utc)
    names = {
        who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        for who in ("ca", "server", "client")
    }
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in names}
    for who, name in names.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names["ca"])
            .public_key(keys[who].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName("localhost"),
                        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    ]
                ),
                critical=False,
            )
        )
        certificate = builder.sign(keys["ca"], hashes.SHA256())
        encoding = serialization.Encoding.PEM
        (folder / f"{who}.pem").write_bytes(certificate.public_bytes(encoding))
        (folder / f"{who}.key").write_bytes(
            keys[who].private_bytes(
                encoding,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return folder


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
        with GenreClient(guarded.address, tls=tls, attempts=1) as client:
            with pytest.raises(CallError) as caught:
                client.versions()
            assert caught.value.code == "UNAVAILABLE"


def test_rest_is_encrypted_too(guarded: ServerProcess, certificates: pathlib.Path) -> None:
    import ssl

    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    url = f"{guarded.rest_url}/v1/models/genre"
    assert url.startswith("https://")
    with pytest.raises((OSError, urllib.request.URLError)):
        urllib.request.urlopen(url, context=context, timeout=10).read()
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    with urllib.request.urlopen(url, context=context, timeout=10) as response:
        assert json.load(response)["model_version_status"][0]["version"] == "5"


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
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert codes.count(grpc.StatusCode.OK) >= 2
        assert predict(long_request(seconds=3), timeout=30).model_spec.version.value == 5


def test_deadline_and_cancellation_end_a_call_at_once(server: ServerProcess) -> None:
    with open_channel(server.address) as channel:
        predict = stub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            predict(long_request(), timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        futures = [predict.future(long_request(), timeout=60) for _ in range(8)]
        time.sleep(0.1)
        for future in futures:
            future.cancel()
        assert predict(long_request(seconds=3), timeout=30).model_spec.version.value == 2


def test_metrics_count_what_happened(server: ServerProcess) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    def value(name: str, url: str = server.metrics_url, **labels: str) -> float:
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    calls = {"protocol": "grpc", "method": "Predict", "model": "genre", "status": "OK"}
    before = value("gatefold_requests_total", **calls)
    runs = value("gatefold_batch_rows_count")
    with GenreClient(server.address) as client:
        client.classify_samples(tone("pop"))
    assert value("gatefold_requests_total", **calls) == before + 1
    assert value("gatefold_batch_rows_count") == runs + 1
    assert value("gatefold_request_latency_seconds_count", method="Predict") > 0
    assert value("gatefold_queue_length") == 0
    assert value("gatefold_model_version", model="genre", version="2") == 1
    monitoring = f"{server.rest_url}/monitoring/prometheus/metrics"  # TF Serving's address
    assert value("gatefold_model_version", monitoring, model="genre", version="1") == 1


def test_access_log_has_a_line_of_json_a_call(server: ServerProcess) -> None:
    with GenreClient(server.address) as client:
        client.classify_samples(tone("pop"))
        with pytest.raises(CallError):
            GenreClient(server.address, model="mood").classify_samples(tone("pop"))
    time.sleep(0.2)
    good, bad = [json.loads(line) for line in server.access_log.read_text().splitlines()[-2:]]
    assert good["model"] == "genre"
    assert (good["version"], good["signature"], good["rows"]) == (2, "classify_wav", 1)
    assert (good["status"], good["protocol"], good["method"]) == ("OK", "grpc", "Predict")
    assert good["milliseconds"] > 0
    assert bad["status"] == "NOT_FOUND"
    assert bad["error"] == "Servable not found for request: Latest(mood)"


@pytest.mark.parametrize("flag", ["--port", "--rest-port", "--metrics-port"])
def test_taken_port_is_a_sentence(server: ServerProcess, tmp_path: pathlib.Path, flag: str) -> None:
    process = ServerProcess(tmp_path, ["--model-base-path", str(tmp_path), flag, server.port])
    try:
        assert process.wait(30) == 2
        assert f"{flag} {server.port} on 127.0.0.1 cannot be had" in process.output
        assert "Traceback" not in process.output
        assert "Loading TensorFlow" not in process.output
    finally:
        process.stop()


def test_idle_server_holds_no_threads_for_callers(server: ServerProcess) -> None:
    threads = len(os.listdir(f"/proc/{server.pid}/task"))  # noqa: PTH208
    with open_channel(server.address) as channel:
        predict = stub(channel)
        futures = [predict.future(long_request(seconds=3), timeout=60) for _ in range(64)]
        for future in futures:
            future.result()
    assert len(os.listdir(f"/proc/{server.pid}/task")) < threads + 16  # noqa: PTH208
