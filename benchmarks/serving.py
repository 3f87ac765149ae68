"""The embedded server beside the bare SavedModel and beside a Flask app, on the same clips.

    python -m benchmarks.serving --model-base-path output/serving/genre [--peer-model cnn]
    python -m benchmarks.serving --model-base-path output/serving/genre --soak 20000

The ways take turns, round by round, so that a busy machine slows all of them, and the targets are
on their ratios. The clients run on the same machine and take their share of it.

- embedded: `python -m serving.server`, asked over gRPC (`classify_wav`, what the client sends);
- bare: the same signature of the same SavedModel in a session, called in process;
- peer: librosa features, then `model.predict`, in a Flask handler, asked over HTTP.

`--soak` sends that many requests from 16 clients instead, one in fifty malformed, while a new
version is pushed and the old one deleted every 20 s.
"""

import argparse
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.composer import compose_track
from components.gtzan.genres import GENRES
from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods

BARE_LATENCY_ALLOWED = 1.35
BARE_THROUGHPUT_WANTED = 0.8
PEER_THROUGHPUT_WANTED = 4.0
CLIENTS = (1, 8, 32)
BATCHES = (1, 2, 4, 8, 16)
SOAK_CLIENTS = 16
SWAP_SECONDS = 20.0
MALFORMED_EVERY = 50
_PREDICT = methods(PREDICTION_SERVICE)["Predict"]

Call = Callable[[int], object]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="Latency and clips a second: embedded server, bare model, Flask peer.",
    )
    parser.add_argument("--model-base-path", required=True, metavar="DIR")
    parser.add_argument(
        "--clips", type=Path, metavar="DIR", help="folder of music (default: composed, synthetic)"
    )
    parser.add_argument("--peer-model", default="cnn", help="the served architecture (cnn)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--requests", type=int, default=20, help="calls a turn (default 20)")
    parser.add_argument("--soak", type=int, metavar="N", help="soak with N requests instead")
    parser.add_argument("--server-flag", action="append", default=[], help="for the server")
    return parser.parse_args(arguments)


def write_clips(source: Path | None, folder: Path, count: int = 16) -> list[Path]:
    """Writes 30 s clips as WAV, of the music in `source` or composed."""
    settings = AudioSettings()
    found = (
        sorted(source.rglob("*.wav"))[:: max(1, len(list(source.rglob("*.wav"))) // count)]
        if source
        else []
    )
    clips = []
    for index in range(count):
        if source:
            path = found[index % len(found)]
            data = path.read_bytes()
            samples = codec.decode(
                data, name=str(path), sample_rate_hz=settings.sample_rate_hz
            ).samples
        else:
            samples = compose_track(GENRES[index % len(GENRES)], index, 1)
        clip = codec.fit_clip(samples, settings.clip_samples)
        clips.append(folder / f"{index:02d}.wav")
        clips[-1].write_bytes(codec.encode_wav(clip, settings.sample_rate_hz))
    return clips


class Program:
    """A process that is waited for until it says that it is ready, and ended in the end."""

    def __init__(self, command: Sequence[str], ready: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.said = ""
        while ready not in self.said:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"{' '.join(command)} ended before it was ready")
            self.said += line

    def ask(self, command: dict[str, Any]) -> Any:
        """Sends one JSON line and reads one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(60)


def start_server(base_path: str, flags: Sequence[str]) -> tuple[Program, str]:
    """Starts the embedded server. Returns it and its address."""
    command = ["serving.server", "--model-base-path", base_path, "--port", "0"]
    options = ["--rest-port", "off", "--access-log", "off", *flags]
    program = Program([*command, *options], "Ctrl-C")
    address = program.said.split("gRPC")[1].split()[0]
    return program, address


def wav_request(wav: bytes) -> bytes:
    """A serialized PredictRequest."""
    request = message("PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_wav"
    request.inputs["wav"].CopyFrom(encode_tensor([wav]))
    return bytes(request.SerializeToString())


def grpc_call(channel: grpc.Channel, wavs: Sequence[bytes]) -> Call:
    """Sends clip `index` to the embedded server."""
    predict = channel.unary_unary(_PREDICT.path, response_deserializer=_PREDICT.response.FromString)
    requests = [wav_request(wav) for wav in wavs]  # as the peer's are bytes already
    return lambda index: predict(requests[index % len(requests)], timeout=120)


def http_call(port: int, wavs: Sequence[bytes]) -> Call:
    """Sends clip `index` to the peer; one kept connection a thread."""
    local = threading.local()

    def call(index: int) -> object:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        local.connection.request("POST", "/predict", wavs[index % len(wavs)])
        response = local.connection.getresponse()
        body = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"the peer answered {response.status}")
        return body

    return call


def timed(call: Call, requests: int, clients: int) -> tuple[list[float], float]:
    """Latencies in seconds and calls a second of `requests` calls from `clients` threads."""

    def once(index: int) -> float:
        start = time.perf_counter()
        call(index)
        return time.perf_counter() - start

    with ThreadPoolExecutor(clients) as executor:
        start = time.perf_counter()
        latencies = list(executor.map(once, range(requests)))
        return latencies, requests / (time.perf_counter() - start)


def compare(arguments: argparse.Namespace, folder: Path) -> bool:
    """Measures the three ways and prints them. Returns whether every target is met."""
    clips = write_clips(arguments.clips, folder)
    wavs = [clip.read_bytes() for clip in clips]
    with socket.create_server(("127.0.0.1", 0)) as free:
        peer_port = free.getsockname()[1]
    programs = [
        bare := Program(["benchmarks.serving_workers", "bare", arguments.model_base_path], "ready"),
        peer := Program(
            ["benchmarks.serving_workers", "peer", arguments.peer_model, str(peer_port)], "ready"
        ),
    ]
    server, address = start_server(arguments.model_base_path, arguments.server_flag)
    programs.append(server)
    del peer
    time.sleep(1)
    try:
        with grpc.insecure_channel(
            address, options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            calls = {"embedded": grpc_call(channel, wavs), "peer": http_call(peer_port, wavs)}
            return _report(*_measure(arguments, bare, calls, [str(clip) for clip in clips]))
    finally:
        for program in programs:
            program.stop()


Latencies = dict[str, list[float]]
Rates = dict[tuple[str, int], list[float]]


def _measure(
    arguments: argparse.Namespace, bare: Program, calls: dict[str, Call], clips: list[str]
) -> tuple[Latencies, Rates]:
    latencies: Latencies = {"embedded": [], "bare": [], "peer": []}
    rates: Rates = {}
    for call in calls.values():
        timed(call, 4, 2)  # the first calls trace graphs
    for batch in BATCHES:
        bare.ask({"wavs": clips, "batch": batch, "runs": 1})
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        runs = arguments.requests
        latencies["bare"] += bare.ask({"wavs": clips, "batch": 1, "runs": runs})
        for name, call in calls.items():
            latencies[name] += timed(call, runs, 1)[0]
        for batch in BATCHES:
            seconds = bare.ask({"wavs": clips, "batch": batch, "runs": max(1, runs // batch)})
            rate = batch * len(seconds) / sum(seconds)
            rates.setdefault(("bare", batch), []).append(rate)
        for clients in CLIENTS:
            for name, call in calls.items():
                sent = max(runs, 2 * clients)
                rates.setdefault((name, clients), []).append(timed(call, sent, clients)[1])
    return latencies, rates


def _report(latencies: Latencies, rates: Rates) -> bool:
    console = Console()
    table = Table("latency, 1 client", "p50", "p95", "p99", title="milliseconds", box=None)
    for name, seconds in latencies.items():
        points = np.percentile(np.array(seconds) * 1000, [50, 95, 99])
        table.add_row(name, *(f"{point:.1f}" for point in points))
    console.print(table)
    middle = {key: statistics.median(values) for key, values in rates.items()}
    table = Table("", *(f"{n} clients" for n in CLIENTS), title="clips a second", box=None)
    for name in ("embedded", "peer"):
        table.add_row(name, *(f"{middle[name, clients]:.1f}" for clients in CLIENTS))
    console.print(table)
    batches = {batch: middle["bare", batch] for batch in BATCHES}
    best = max(batches, key=batches.__getitem__)
    listed = ", ".join(f"{batch}: {rate:.1f}" for batch, rate in batches.items())
    console.print(f"bare, clips a second by batch: {listed} (best: {best})")
    most = max(CLIENTS)
    ratios = (
        (
            "p50 over the bare call",
            statistics.median(latencies["embedded"]) / statistics.median(latencies["bare"]),
            f"at most {BARE_LATENCY_ALLOWED}",
            lambda value: value <= BARE_LATENCY_ALLOWED,
        ),
        (
            f"clips a second at {most} clients over the bare best batch",
            middle["embedded", most] / batches[best],
            f"at least {BARE_THROUGHPUT_WANTED}",
            lambda value: value >= BARE_THROUGHPUT_WANTED,
        ),
        (
            f"clips a second at {most} clients over the peer",
            middle["embedded", most] / middle["peer", most],
            f"at least {PEER_THROUGHPUT_WANTED:g}",
            lambda value: value >= PEER_THROUGHPUT_WANTED,
        ),
    )
    met = True
    for what, value, target, test in ratios:
        met &= test(value)
        console.print(f"{'ok  ' if test(value) else 'MISS'} {what}: {value:.2f} ({target})")
    return met


def soak(arguments: argparse.Namespace, folder: Path) -> bool:
    """Sends many requests while versions come and go. Returns whether no good one failed."""
    wavs = [clip.read_bytes() for clip in write_clips(arguments.clips, folder)]
    source = max(Path(arguments.model_base_path).iterdir(), key=lambda path: path.name)
    base = folder / "genre"
    shutil.copytree(source, base / "1")
    server, address = start_server(str(base), arguments.server_flag)
    process = psutil.Process(server.process.pid)
    memory: list[float] = []
    counts = {"good": 0, "failed": 0, "refused": 0, "not refused": 0}
    versions: set[int] = set()
    done, lock = threading.Event(), threading.Lock()

    def swap() -> None:
        number = 1
        while not done.wait(SWAP_SECONDS):
            number += 1
            shutil.copytree(source, base / str(number))
            if number > 2:
                shutil.rmtree(base / str(number - 2))

    def watch() -> None:
        while not done.wait(2.0):
            memory.append(process.memory_info().rss / 2**20)

    def send(channel: grpc.Channel, index: int) -> None:
        malformed = index % MALFORMED_EVERY == 0
        data = wav_request(b"RIFF" if malformed else wavs[index % len(wavs)])
        predict = channel.unary_unary(
            _PREDICT.path, response_deserializer=_PREDICT.response.FromString
        )
        try:
            response = predict(data, timeout=120)
            kind = "not refused" if malformed else "good"
            with lock:
                versions.add(response.model_spec.version.value)
        except grpc.RpcError as error:
            right = malformed and error.code() is grpc.StatusCode.INVALID_ARGUMENT
            kind = "refused" if right else "failed"
            if not right:
                print(error.code(), error.details(), file=sys.stderr)
        with lock:
            counts[kind] += 1
            if sum(counts.values()) % 1000 == 0:
                print(counts, f"{memory[-1]:.0f} MiB", file=sys.stderr, flush=True)

    helpers = [threading.Thread(target=target, daemon=True) for target in (swap, watch)]
    for helper in helpers:
        helper.start()
    start = time.monotonic()
    try:
        with (
            grpc.insecure_channel(address) as channel,
            ThreadPoolExecutor(SOAK_CLIENTS) as executor,
        ):
            list(executor.map(lambda index: send(channel, index), range(arguments.soak)))
    finally:
        done.set()
        for helper in helpers:
            helper.join()
        server.stop()
    seconds = time.monotonic() - start
    quarter = max(1, len(memory) // 4)
    parts = [statistics.median(memory[i * quarter : (i + 1) * quarter]) for i in range(4)]
    print(f"{arguments.soak} requests in {seconds:.0f} s, {arguments.soak / seconds:.1f} a second")
    print(f"{counts}, {len(versions)} versions answered")
    print("memory by quarters, MiB: " + ", ".join(f"{part:.0f}" for part in parts))
    return counts["failed"] == 0 and counts["not refused"] == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark. Exit code 1 where a target is missed."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = soak if parsed.soak else compare
        return 0 if run(parsed, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
