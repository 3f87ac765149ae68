"""Sends requests to the embedded server for a long time, while versions come and go.

    python -m benchmarks.soak --model-base-path output/serving/genre [--requests 20000 --swaps 100]

Sixteen clients send clips over gRPC without a pause, one request in fifty malformed. Meanwhile new
versions of the model are pushed, evenly over the requests: each is waited for until it is loaded,
and the one before the last is deleted. Exit code 1 if a good request failed, a malformed one did
not, or the server's resident memory grew by more than 5 % between the first and the last tenth of
the swaps.
"""

import argparse
import itertools
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil

from benchmarks.embedded import (
    PREDICT,
    Server,
    base_parser,
    newest_version,
    wav_request,
    write_clips,
)
from serving.protocol import MODEL_SERVICE, message, methods

MALFORMED_EVERY = 50
MOST_GROWTH = 0.05
_STATUS = methods(MODEL_SERVICE)["GetModelStatus"]
_LOAD_SECONDS = 300.0
_MIB = 1 << 20


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = base_parser(
        "soak", "Many requests while versions are swapped: failures, and resident memory."
    )
    parser.add_argument("--clients", type=int, default=16, metavar="N", help="(16)")
    parser.add_argument("--requests", type=int, default=20_000, metavar="N", help="(20000)")
    parser.add_argument("--swaps", type=int, default=100, metavar="N", help="(100)")
    return parser.parse_args(arguments)


class Soak:
    """The server under load: clients, swaps, and what they saw."""

    def __init__(self, parsed: argparse.Namespace, folder: Path) -> None:
        """Writes the clips and starts the server on the newest version of the model."""
        clips = write_clips(parsed.clips, folder, seconds=parsed.clip_seconds)
        self._good = [wav_request(clip.read_bytes()) for clip in clips]
        self._malformed = wav_request(b"RIFF")
        self._requests, self._swaps = parsed.requests, parsed.swaps
        self._clients = parsed.clients
        self._source = newest_version(parsed.model_base_path)
        self._base = folder / "genre"
        shutil.copytree(self._source, self._base / "1")
        self._server = Server(self._base, ["--poll-seconds", "0.2", *parsed.server_flag])
        self._process = psutil.Process(self._server.process.pid)
        self._numbers = itertools.count(1)
        self._swapped = threading.Event()
        self._lock = threading.Lock()
        self.counts = {"answered": 0, "failed": 0, "refused": 0, "not refused": 0}
        self.versions: set[int] = set()
        self.memory_mib: list[float] = []

    def run(self) -> None:
        """Sends until all requests are sent and all versions are swapped."""
        try:
            with (
                grpc.insecure_channel(self._server.address) as channel,
                ThreadPoolExecutor(self._clients + 1) as executor,
            ):
                swapping = executor.submit(self._swap, channel)
                sending = [executor.submit(self._send, channel) for _ in range(self._clients)]
                for task in (swapping, *sending):
                    task.result()
        finally:
            self._server.stop()

    def _sent(self) -> int:
        return sum(self.counts.values())

    def _send(self, channel: grpc.Channel) -> None:
        predict = channel.unary_unary(
            PREDICT.path, response_deserializer=PREDICT.response.FromString
        )
        while self._sent() < self._requests or not self._swapped.is_set():
            number = next(self._numbers)
            malformed = number % MALFORMED_EVERY == 0
            data = self._malformed if malformed else self._good[number % len(self._good)]
            version = 0
            try:
                version = predict(data, timeout=120).model_spec.version.value
                kind = "not refused" if malformed else "answered"
            except grpc.RpcError as error:
                expected = malformed and error.code() is grpc.StatusCode.INVALID_ARGUMENT
                kind = "refused" if expected else "failed"
                if not expected:
                    print(error.code(), error.details(), file=sys.stderr, flush=True)
            with self._lock:
                self.counts[kind] += 1
                self.versions |= {version} - {0}

    def _swap(self, channel: grpc.Channel) -> None:
        try:
            for swap in range(1, self._swaps + 1):
                while self._sent() < swap * self._requests // (self._swaps + 1):
                    time.sleep(0.02)
                shutil.copytree(self._source, self._base / f"new-{swap}")
                (self._base / f"new-{swap}").rename(self._base / str(swap + 1))
                self._wait_loaded(channel, swap + 1)
                shutil.rmtree(self._base / str(swap))
                self.memory_mib.append(self._process.memory_info().rss / _MIB)
                if swap % max(1, self._swaps // 20) == 0:
                    counts, memory = dict(self.counts), self.memory_mib[-1]
                    print(f"swap {swap}: {counts}, {memory:.0f} MiB", file=sys.stderr, flush=True)
        finally:
            self._swapped.set()

    def _wait_loaded(self, channel: grpc.Channel, version: int) -> None:
        """Waits until `version` is the only one that is loaded."""
        status = channel.unary_unary(
            _STATUS.path,
            request_serializer=_STATUS.request.SerializeToString,
            response_deserializer=_STATUS.response.FromString,
        )
        request = message("GetModelStatusRequest")()
        request.model_spec.name = "genre"
        end = time.monotonic() + _LOAD_SECONDS
        while time.monotonic() < end:
            states = status(request, timeout=120).model_version_status
            available = {one.version for one in states if one.state == one.AVAILABLE}
            if available == {version}:
                return
            time.sleep(0.1)
        raise SystemExit(f"version {version} was not loaded within {_LOAD_SECONDS:.0f} s")


def report(soak: Soak, seconds: float) -> bool:
    """Prints what was seen. Returns whether nothing failed and the memory is flat."""
    sent, memory = sum(soak.counts.values()), soak.memory_mib
    print(f"{sent} requests in {seconds:.0f} s, {sent / seconds:.1f} a second")
    print(f"{soak.counts}, {len(soak.versions)} versions answered, {len(memory)} swaps")
    sound = soak.counts["failed"] == soak.counts["not refused"] == 0
    if not memory:
        return sound
    part = max(1, len(memory) // 10)
    tenths = [
        statistics.median(memory[i : i + part]) for i in range(0, min(len(memory), part * 10), part)
    ]
    growth = tenths[-1] / tenths[0] - 1
    listed = ", ".join(f"{value:.0f}" for value in tenths)
    print(f"resident memory by tenths of the swaps, MiB: {listed}")
    flat = growth <= MOST_GROWTH
    print(f"{'ok  ' if flat else 'MISS'} growth: {growth:+.1%} (at most {MOST_GROWTH:.0%})")
    return sound and flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak. Exit code 1 where something failed or the memory grew."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(parsed, Path(folder))
        start = time.monotonic()
        soak.run()
        return 0 if report(soak, time.monotonic() - start) else 1


if __name__ == "__main__":
    raise SystemExit(main())
