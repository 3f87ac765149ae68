"""The proxy's limits: callers that flood it from one address take nothing from the others."""

import contextlib
import os
import pathlib
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.test_holding import predict, request_of
from tests.serving.test_rest import best, call, wav_base64

pytestmark = pytest.mark.scale
CONFIGURATION = REPOSITORY / "serving" / "proxy" / "nginx.conf"
ATTACKER = ("127.0.0.2", 0)  # another address than the good callers'
MEBIBYTE = 1 << 20
CHECK, PREDICT = "/grpc.health.v1.Health/Check", "/tensorflow.serving.PredictionService/Predict"
_HEADERS, _DATA, _SETTINGS = 1, 0, 4
_END_STREAM, _END_HEADERS = 1, 4


def nginx() -> str:
    """Debian's nginx; as root on Debian it is installed first."""
    if shutil.which("nginx") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in ("update -qq", "install -y -qq --no-install-recommends nginx"):
            subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", *command.split()],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.DEVNULL,
                check=False,
            )
    found = shutil.which("nginx")
    if found is None:
        pytest.skip("needs nginx: apt-get install nginx")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Proxied:
    """The server behind nginx.

    Attributes:
      server: The embedded server itself.
      grpc_port, rest_port: The proxy's.
      rest_url: The proxy's REST address (as of a `ServerProcess`, for `test_rest.call`).
    """

    def __init__(self, server: ServerProcess, folder: pathlib.Path) -> None:
        self.server = server
        self.grpc_port, self.rest_port = free_port(), free_port()
        self.rest_url = f"http://127.0.0.1:{self.rest_port}"
        text = CONFIGURATION.read_text().replace("/tmp/gatefold-", f"{folder}/")
        for ours, theirs in (
            ("listen 9500", f"listen 127.0.0.1:{self.grpc_port}"),
            ("listen 9501", f"listen 127.0.0.1:{self.rest_port}"),
            ("server 127.0.0.1:8500", f"server 127.0.0.1:{server.port}"),
            ("server 127.0.0.1:8501", f"server {server.rest_url.removeprefix('http://')}"),
        ):
            assert text.count(ours) == 1
            text = text.replace(ours, theirs)
        (folder / "nginx.conf").write_text(text)
        self.process = subprocess.Popen(
            [nginx(), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"],
            stderr=(folder / "error.log").open("w"),
        )

    def open(self, port: int) -> socket.socket:
        """A connection of the attacker."""
        return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=ATTACKER)


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]
) -> Iterator[Proxied]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # this process holds the floods
    folder = tmp_path_factory.mktemp("proxied")
    (folder / "genre").mkdir()
    (folder / "genre" / "2").symlink_to(versions["right"])
    flags = ["--model-base-path", str(folder / "genre"), "--host", "127.0.0.1"]
    server = ServerProcess(folder / "server", flags)
    proxy = None
    stack = contextlib.ExitStack()
    try:
        server.wait_ready()
        # Not below pytest's folder: nginx's workers are another user, and buffer bodies there.
        buffers = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        buffers.chmod(0o755)
        proxy = Proxied(server, buffers)
        end = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", proxy.grpc_port)):
            assert proxy.process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield proxy
    finally:
        if proxy is not None:
            proxy.process.terminate()
            proxy.process.wait(30)
        stack.close()
        server.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_served(proxied: Proxied) -> None:
    """A good caller is answered by every way."""
    with grpc.insecure_channel(
        f"127.0.0.1:{proxied.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        assert predict(channel)(request_of(), timeout=20).model_spec.version.value == 2
    body = {"signature_name": "classify_wav", "instances": [wav_base64("jazz")]}
    status, answer = call(proxied, "genre:predict", body)
    assert status == 200 and best(answer["predictions"][0]) == "jazz"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def opening(path: str, stream: int) -> bytes:
    """The headers of a gRPC call, which end no stream."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    packed = b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(_HEADERS, _END_HEADERS, stream, packed)


def http2(proxied: Proxied, calls: bytes, *, window: int = 65_535) -> socket.socket:
    """A connection of the attacker that sends so much."""
    caller = proxied.open(proxied.grpc_port)
    settings = frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, window))
    caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + calls)
    return caller


def half_open_checks(proxied: Proxied) -> list[socket.socket]:
    streams = b"".join(opening(CHECK, 2 * number + 1) for number in range(60))
    return [http2(proxied, streams) for _ in range(10)]


def window_of_zero(proxied: Proxied) -> list[socket.socket]:
    calls = b"".join(
        opening(CHECK, 2 * number + 1) + frame(_DATA, _END_STREAM, 2 * number + 1, bytes(5))
        for number in range(60)
    )
    return [http2(proxied, calls, window=0) for _ in range(10)]


def senders_of_one_byte(proxied: Proxied) -> list[socket.socket]:
    callers = []
    for _ in range(64):
        callers.append(proxied.open(proxied.rest_port))
        callers[-1].sendall(
            b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{"
        )
        callers.append(http2(proxied, opening(PREDICT, 1) + frame(_DATA, 0, 1, b"\x00")))
    return callers


def idle_connections(proxied: Proxied) -> list[socket.socket]:
    ports = (proxied.rest_port, proxied.grpc_port)
    return [proxied.open(port) for port in ports for _ in range(1500)]


@pytest.mark.parametrize(
    "attack", [half_open_checks, window_of_zero, senders_of_one_byte, idle_connections]
)
def test_callers_that_stay_shut_out_nobody_else(
    proxied: Proxied, attack: Callable[[Proxied], list[socket.socket]]
) -> None:
    with contextlib.ExitStack() as held:
        for caller in attack(proxied):
            held.callback(caller.close)
        for _ in range(3):
            assert_served(proxied)
    assert "Traceback" not in proxied.server.output


def test_trailers_without_end_take_no_memory(proxied: Proxied) -> None:
    process = psutil.Process(proxied.server.pid)
    before = process.memory_info().rss
    with proxied.open(proxied.rest_port) as caller, contextlib.suppress(OSError):
        caller.sendall(
            b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        )
        for number in range(64):
            caller.sendall(b"".join(b"X-%d-%d: y\r\n" % (number, n) for n in range(80_000)))
            assert process.memory_info().rss - before < 64 * MEBIBYTE
    assert_served(proxied)
    assert process.memory_info().rss - before < 64 * MEBIBYTE


def test_a_flood_of_connections_shuts_out_nobody_else(proxied: Proxied) -> None:
    stop = threading.Event()

    def flood() -> None:
        for number in range(5000):
            if stop.is_set():
                return
            with contextlib.suppress(OSError):
                proxied.open((proxied.rest_port, proxied.grpc_port)[number % 2]).close()

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert_served(proxied)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_is_not_for_callers_is_not_passed_on(proxied: Proxied) -> None:
    for path, body, status in (
        ("/monitoring/prometheus/metrics", None, 404),
        ("/v1/models/genre:predict", b" " * (23 * MEBIBYTE), 413),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{proxied.rest_url}{path}", body, timeout=10)
        assert caught.value.code == status
    with grpc.insecure_channel(f"127.0.0.1:{proxied.grpc_port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.RpcError) as refused:
            next(watch)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
