"""Sends the embedded server requests that no client sends, and asks for its health meanwhile.

    python -m benchmarks.hostile --model-base-path output/serving/genre

Prints, for every kind of request, the answers, the latency of health checks (from a process of
their own) and the server's peak memory. Exit code 1 where an answer is a fault of the server's
(500, INTERNAL, UNKNOWN), a good request fails afterwards, or a health check takes over 300 ms.
The last holds on a machine that does nothing else.
"""

import argparse
import collections
import itertools
import multiprocessing
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

from benchmarks.embedded import PREDICT, Server, base_parser, wav_request, write_clips
from serving.protocol import message

MOST_HEALTH_MS = 300.0
FAULTS = {"500", "INTERNAL", "UNKNOWN"}
_MIB = 1 << 20
_UNBOUNDED = [("grpc.max_send_message_length", -1)]

Send = Callable[[], str]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = base_parser("hostile", "Health, memory and answers beside hostile requests.")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each case (5)")
    return parser.parse_args(arguments)


def by_grpc(address: str, data: bytes) -> Send:
    """Sends a serialized PredictRequest over a connection of its own; gives the status."""

    def send() -> str:
        with grpc.insecure_channel(
            address, options=[*_UNBOUNDED, ("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            try:
                channel.unary_unary(PREDICT.path)(data, timeout=120)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    return send


def by_rest(url: str, body: bytes) -> Send:
    """Sends a body to :predict; gives the HTTP status, or "closed" if it was not all read."""

    def send() -> str:
        try:
            with urllib.request.urlopen(f"{url}/v1/models/genre:predict", body, timeout=120):
                return "200"
        except urllib.error.HTTPError as error:
            return str(error.code)
        except OSError:
            return "closed"

    return send


def slow_sender(url: str, seconds: float) -> Send:
    """Opens a request, sends one byte of it and waits."""
    port = int(url.rpartition(":")[2])

    def send() -> str:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(
                b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{"
            )
            caller.settimeout(seconds)
            try:
                answer = caller.recv(100)
            except TimeoutError:
                return "none yet"
            return answer[9:12].decode() or "closed"

    return send


def filled(opening: bytes, part: bytes, closing: bytes, size: int) -> bytes:
    """A body of about `size` bytes, `part` repeated."""
    return opening + part * ((size - len(opening) - len(closing)) // len(part)) + closing


def claimed_strings() -> bytes:
    """A serialized PredictRequest of some forty bytes that claims eight million strings."""
    request = message("PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_wav"
    tensor = request.inputs["wav"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=8_388_608)
    return bytes(request.SerializeToString())


def cases(address: str, url: str, wav: bytes, seconds: float) -> dict[str, tuple[Send, int]]:
    """What is sent, and by how many callers at once."""
    sound = wav_request(wav)
    listed: dict[str, tuple[Send, int]] = {
        "43 bytes that claim 8 million strings": (by_grpc(address, claimed_strings()), 8),
        "16 MiB of empty names (gRPC)": (by_grpc(address, b"\x1a\x00" * (8 * _MIB - 100)), 4),
        "16 MiB of empty inputs (gRPC)": (by_grpc(address, b"\x12\x00" * (8 * _MIB - 100)), 4),
    }
    bodies = {
        "digits": (b'{"inputs":[', b"1,", b"1]}"),
        "numbers": (b'{"inputs":[', b"0.123,", b"1]}"),
        "lists": (b'{"inputs":[', b"[],", b"[]]}"),
        "open brackets": (b'{"inputs":', b"[", b""),
        "text": (b'{"inputs":["', b"a", b'"]}'),
    }
    for mebibytes in (15.9, 200):
        for name, (opening, part, closing) in bodies.items():
            body = filled(opening, part, closing, int(mebibytes * _MIB))
            listed[f"{mebibytes:.0f} MiB of {name} (REST)"] = by_rest(url, body), 4
    listed["200 clients (gRPC)"] = by_grpc(address, sound), 200
    listed["64 slow senders (REST)"] = slow_sender(url, seconds), 64
    return listed


def probe(address: str, seconds: float) -> list[float]:
    """Latencies of health checks in milliseconds, one after another; infinity for a failure."""
    latencies = []
    end = time.monotonic() + seconds
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                check(health_pb2.HealthCheckRequest(), timeout=30)
                latencies.append((time.perf_counter() - start) * 1000)
            except grpc.RpcError:
                latencies.append(float("inf"))
            time.sleep(0.01)
    return latencies


def peak_mebibytes(pid: int) -> float:
    """The most memory that a process took since this was last called."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak


def attack(send: Send, callers: int, seconds: float) -> "collections.Counter[str]":
    """Sends again and again from so many callers, each at least once. Returns the answers."""
    end = time.monotonic() + seconds

    def repeat(_: int) -> list[str]:
        answers = [send()]
        while time.monotonic() < end:
            answers.append(send())
        return answers

    with ThreadPoolExecutor(callers) as executor:
        answers = executor.map(repeat, range(callers))
        return collections.Counter(itertools.chain.from_iterable(answers))


def measure(parsed: argparse.Namespace, folder: Path) -> bool:
    """Runs every case and prints the table. Returns whether all is as it must be."""
    (clip,) = write_clips(parsed.clips, folder, count=1, seconds=parsed.clip_seconds)
    server = Server(parsed.model_base_path, parsed.server_flag)
    address, url = server.address, server.url
    table = Table("request", "answers", "health p50, max ms", "peak MiB", box=None)
    good = by_grpc(address, wav_request(clip.read_bytes()))
    fine = good() == "OK"
    idle = psutil.Process(server.process.pid).memory_info().rss / _MIB
    table.add_row("(idle)", "", "", f"{idle:.0f}")
    try:
        # Not in this process: its own lock would be measured.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as prober:
            prober.submit(probe, address, 0.5).result()
            for name, (send, callers) in cases(
                address, url, clip.read_bytes(), parsed.seconds
            ).items():
                peak_mebibytes(server.process.pid)
                probing = prober.submit(probe, address, parsed.seconds)
                answers = attack(send, callers, parsed.seconds)
                latencies = sorted(probing.result())
                afterwards = good()
                counted = ", ".join(f"{key}: {count}" for key, count in sorted(answers.items()))
                table.add_row(
                    name,
                    counted + ("" if afterwards == "OK" else f"; then {afterwards}"),
                    f"{latencies[len(latencies) // 2]:.0f}, {latencies[-1]:.0f}",
                    f"{peak_mebibytes(server.process.pid):.0f}",
                )
                print(name, file=sys.stderr, flush=True)
                fine &= latencies[-1] <= MOST_HEALTH_MS and afterwards == "OK"
                fine &= not FAULTS & answers.keys()
    finally:
        server.stop()
        Console(width=120).print(table)
    return fine


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark. Exit code 1 where something is not as it must be."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(parsed, Path(folder)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
