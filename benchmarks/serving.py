"""Measures the embedded server beside the bare SavedModel and a Flask app, on the same clips.

    python -m benchmarks.serving --model-base-path output/serving/genre [--peer-model cnn]

The ways take turns, round by round, so that a busy machine slows all of them, and the targets are
on their ratios. The clients run on the same machine and take their share of it.

- embedded: `python -m serving.server`, asked over gRPC (`classify_wav`, what the client sends);
- bare: the same signature of the same SavedModel in a session, called in this process;
- peer: librosa's log-mel, then `model.predict`, in a Flask handler, asked over HTTP;
- peer, called: the same with `model(windows, training=False)`, which is faster for one clip.
"""

import argparse
import http.client
import io
import json
import logging
import multiprocessing
import socket
import statistics
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
from rich.console import Console
from rich.table import Table

from benchmarks.embedded import (
    PREDICT,
    Server,
    base_parser,
    newest_version,
    wav_request,
    write_clips,
)
from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES

BARE_LATENCY_ALLOWED = 1.2
PEER_THROUGHPUT_WANTED = 4.0
CLIENTS = (1, 8, 32)
PEERS = {"peer": "/predict", "peer, called": "/call"}
SETTINGS = AudioSettings()

Call = Callable[[int], object]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = base_parser(
        "serving", "Latency and clips a second: embedded server, bare model, Flask peer."
    )
    parser.add_argument(
        "--peer-model", default="cnn", help="the served architecture, one on log-mel (cnn)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--requests", type=int, default=20, help="calls a turn (default 20)")
    return parser.parse_args(arguments)


def peer(model_name: str, port: int, ready: Any) -> None:
    """Serves POST of a WAV in a Flask handler, as the projects that Gatefold replaces do.

    The network has the architecture of the served one; its weights are untrained, which makes no
    difference to its speed.
    """
    import flask
    import librosa
    from werkzeug.serving import WSGIRequestHandler

    from components.trainer.models import build
    from components.trainer.settings import ModelSettings

    log_mel = feature("log_mel", SETTINGS)
    model = build(model_name, feature=log_mel, genre_count=len(GENRES), settings=ModelSettings())
    app = flask.Flask("peer")
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # kept connections, as gRPC does
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    flask.cli.show_server_banner = lambda *_: None

    def windows() -> np.ndarray:
        data = io.BytesIO(flask.request.get_data())
        samples, _ = librosa.load(data, sr=SETTINGS.sample_rate_hz)
        power = librosa.feature.melspectrogram(
            y=samples,
            sr=SETTINGS.sample_rate_hz,
            n_fft=SETTINGS.fft_length,
            hop_length=SETTINGS.hop_length,
            n_mels=SETTINGS.mel_bins,
        )
        frames = librosa.power_to_db(power, ref=np.max).T.astype(np.float32)
        count = len(frames) // log_mel.window_frames
        return frames[: count * log_mel.window_frames].reshape(count, -1, log_mel.bins)

    def by_genre(probabilities: np.ndarray) -> dict[str, float]:
        return dict(zip(GENRES, map(float, probabilities.mean(axis=0)), strict=True))

    app.post("/predict")(lambda: by_genre(model.predict(windows(), verbose=0)))
    app.post("/call", endpoint="call")(lambda: by_genre(model(windows(), training=False).numpy()))
    ready.set()
    app.run(host="127.0.0.1", port=port, threaded=True)


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


def bare_call(version: Path, wavs: Sequence[bytes]) -> Call:
    """Calls the SavedModel with clip `index`."""
    from components.serving_check.calls import BareModel

    model = BareModel(str(version))
    inputs = [{"wav": np.array([wav], object)} for wav in wavs]
    return lambda index: model.call("classify_wav", inputs[index % len(inputs)])


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
    """Measures the ways and prints them. Returns whether every target is met."""
    clips = write_clips(arguments.clips, folder, seconds=arguments.clip_seconds)
    wavs = [clip.read_bytes() for clip in clips]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    serving_peer = spawn.Process(target=peer, args=(arguments.peer_model, port, ready), daemon=True)
    serving_peer.start()
    server = Server(arguments.model_base_path, arguments.server_flag)
    try:
        while not ready.wait(1):
            if not serving_peer.is_alive():
                raise SystemExit(f"no network {arguments.peer_model} on log-mel can be built")
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(server.address, options=options) as channel:
            calls = {
                "embedded": grpc_call(channel, wavs),
                "bare": bare_call(newest_version(arguments.model_base_path), wavs),
                **{name: http_call(port, path, wavs) for name, path in PEERS.items()},
            }
            return report(*measure(calls, arguments.rounds, arguments.requests))
    finally:
        server.stop()
        serving_peer.kill()


def measure(
    calls: dict[str, Call], rounds: int, requests: int
) -> tuple[dict[str, list[float]], dict[tuple[str, int], float]]:
    """Latencies in seconds of one client, and the median clips a second by way and clients."""
    latencies: dict[str, list[float]] = {name: [] for name in calls}
    rates: dict[tuple[str, int], list[float]] = {}
    for call in calls.values():
        timed(call, 4, 2)  # the first calls trace graphs
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, call in calls.items():
            latencies[name] += timed(call, requests, 1)[0]
        for clients in CLIENTS:
            for name, call in calls.items():
                sent = max(requests, 2 * clients)
                rates.setdefault((name, clients), []).append(timed(call, sent, clients)[1])
    return latencies, {key: statistics.median(values) for key, values in rates.items()}


def report(latencies: dict[str, list[float]], rates: dict[tuple[str, int], float]) -> bool:
    """Prints the figures. Returns whether every target is met."""
    console = Console()
    table = Table("", "p50, ms", "p95", *(f"{n} clients, a second" for n in CLIENTS), box=None)
    for name, seconds in latencies.items():
        points = np.percentile(np.array(seconds) * 1000, [50, 95])
        cells = [*points, *(rates[name, clients] for clients in CLIENTS)]
        table.add_row(name, *(f"{cell:.1f}" for cell in cells))
    console.print(table)
    most = max(CLIENTS)
    ratio = statistics.median(latencies["embedded"]) / statistics.median(latencies["bare"])
    met = ratio <= BARE_LATENCY_ALLOWED
    console.print(f"p50 over the bare call: {ratio:.2f} (at most {BARE_LATENCY_ALLOWED})")
    for name in PEERS:
        ratio = rates["embedded", most] / rates[name, most]
        met &= ratio >= PEER_THROUGHPUT_WANTED
        wanted = f"at least {PEER_THROUGHPUT_WANTED:g}"
        console.print(f"{most} clients over the {name}: {ratio:.2f} ({wanted})")
    console.print("ok" if met else "MISS")
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark. Exit code 1 where a target is missed."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if compare(parsed, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
