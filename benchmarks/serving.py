"""Measures the embedded server beside the bare SavedModel and a Flask app, on the same clips.

    python -m benchmarks.serving --model-base-path output/serving/genre [--peer-model cnn]

The ways take turns, round by round, so that a busy machine slows all of them, and the targets are
on their ratios. The clients run on the same machine and take their share of it.

- embedded: `python -m serving.server`, asked over gRPC (`classify_wav`, what the client sends);
- bare: the same signature of the same SavedModel in a session, called in process;
- peer: librosa features, then `model.predict`, in a Flask handler, asked over HTTP;
- peer, called: the same with `model(windows, training=False)`, which is faster for one clip.
"""

import argparse
import http.client
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.embedded import PREDICT, Program, start_server, wav_request, write_clips

BARE_LATENCY_ALLOWED = 1.2
BARE_THROUGHPUT_WANTED = 0.8
PEER_THROUGHPUT_WANTED = 4.0
CLIENTS = (1, 8, 32)
BATCHES = (1, 2, 4, 8, 16)
PEERS = {"peer": "/predict", "peer, called": "/call"}

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
    parser.add_argument("--server-flag", action="append", default=[], help="for the server")
    return parser.parse_args(arguments)


def grpc_call(channel: grpc.Channel, wavs: Sequence[bytes]) -> Call:
    """Sends clip `index` to the embedded server."""
    predict = channel.unary_unary(PREDICT.path, response_deserializer=PREDICT.response.FromString)
    requests = [wav_request(wav) for wav in wavs]  # as the peer's are bytes already
    return lambda index: predict(requests[index % len(requests)], timeout=120)


def http_call(port: int, path: str, wavs: Sequence[bytes]) -> Call:
    """Sends clip `index` to the peer; one kept connection a thread."""
    local = threading.local()

    def call(index: int) -> object:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        local.connection.request("POST", path, wavs[index % len(wavs)])
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
            [
                *("benchmarks.serving_workers", "peer", arguments.peer_model),
                *(str(peer_port), arguments.model_base_path),
            ],
            "ready",
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
            calls = {
                "embedded": grpc_call(channel, wavs),
                **{name: http_call(peer_port, path, wavs) for name, path in PEERS.items()},
            }
            return _report(*_measure(arguments, bare, calls, [str(clip) for clip in clips]))
    finally:
        for program in programs:
            program.stop()


Latencies = dict[str, list[float]]
Rates = dict[tuple[str, int], list[float]]


def _measure(
    arguments: argparse.Namespace, bare: Program, calls: dict[str, Call], clips: list[str]
) -> tuple[Latencies, Rates]:
    latencies: Latencies = {"embedded": [], "bare": [], **{name: [] for name in PEERS}}
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
    for name in ("embedded", *PEERS):
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
        *(
            (
                f"clips a second at {most} clients over the {name}",
                middle["embedded", most] / middle[name, most],
                f"at least {PEER_THROUGHPUT_WANTED:g}",
                lambda value: value >= PEER_THROUGHPUT_WANTED,
            )
            for name in PEERS
        ),
    )
    met = True
    for what, value, target, test in ratios:
        met &= test(value)
        console.print(f"{'ok  ' if test(value) else 'MISS'} {what}: {value:.2f} ({target})")
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark. Exit code 1 where a target is missed."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if compare(parsed, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
