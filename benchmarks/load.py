"""Loads the embedded server with tools that others know: ghz over gRPC, hey over REST.

    make load OUTPUT=output
    python -m benchmarks.load --model-base-path output/serving/genre --tools .tools/bin

First 1, 8, 32 and 128 clients, each of which sends its next request when the last one is answered.
Then overload: requests come at four times the rate that the server keeps up with, on a queue of
eight, whatever is answered. And then one client again: does the server recover at once?

Exit code 1 if a request failed, if a refusal took longer than 50 ms at the median, or if the
first requests after the overload were refused or slower than before it.
"""

import argparse
import base64
import csv
import dataclasses
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.embedded import Server, base_parser, wav_request, write_clips
from components.common.errors import UserError

CLIENTS = (1, 8, 32, 128)
OVERLOAD = 4.0
OVERLOAD_SECONDS = 10.0
QUEUE_LENGTH = 8
REFUSAL_MS = 50.0
# Most that may wait for an answer. hey's all send at the same moment, so a burst is that large.
OVERLOAD_CLIENTS = {"gRPC": 64, "REST": 32}
RECOVERY_REQUESTS = 20
RECOVERY_ALLOWED = 1.5
_TIMEOUT_SECONDS = 120
_REFUSED = {"Unavailable", "ResourceExhausted", "503", "429"}
_OK = {"OK", "200"}


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a tool saw.

    Attributes:
      latencies_ms: Of every request, by status: "OK" or "200", "Unavailable" or "503", …
      seconds: Wall-clock time of the whole run.
      lost: Requests that were sent and are in no status: the connection broke.
    """

    latencies_ms: dict[str, list[float]]
    seconds: float
    lost: int = 0

    def of(self, statuses: set[str]) -> list[float]:
        """Latencies of the requests that ended with one of `statuses`, in milliseconds."""
        return [ms for status in statuses for ms in self.latencies_ms.get(status, [])]

    @property
    def errors(self) -> int:
        """Requests that were not answered."""
        return self.lost + sum(map(len, self.latencies_ms.values())) - len(self.of(_OK))

    @property
    def counts(self) -> Counter[str]:
        """Requests by status."""
        counts = Counter({status: len(values) for status, values in self.latencies_ms.items()})
        return counts + Counter({"lost": self.lost})


# Sends requests from so many clients; with a rate, so many a second whatever is answered.
Load = Callable[[int, int, float], Answers]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = base_parser(
        "load", "ghz and hey against the embedded server: 1 to 128 clients, then overload."
    )
    parser.add_argument(
        "--tools", type=Path, default=Path(".tools/bin"), metavar="DIR", help="has ghz and hey"
    )
    parser.add_argument(
        "--requests", type=int, default=50, help="a run has so many, or two a client (50)"
    )
    return parser.parse_args(arguments)


def ghz(tool: Path, address: str, body: Path) -> Load:
    """Loads gRPC: ghz reads the services by reflection and sends `body`, a PredictRequest."""

    def load(clients: int, requests: int, rate: float) -> Answers:
        flags = ["--insecure", "--call", "tensorflow.serving.PredictionService/Predict"]
        flags += ["-B", str(body), "-c", str(clients), "-n", str(requests), "-O", "json"]
        flags += ["--connections", str(min(clients, 8)), "-t", f"{_TIMEOUT_SECONDS}s"]
        if rate:
            flags += ["--rps", str(round(rate))]
        report = json.loads(_run([str(tool), *flags, address]))
        latencies: dict[str, list[float]] = {}
        for detail in report["details"]:
            latencies.setdefault(detail["status"], []).append(detail["latency"] / 1e6)
        return Answers(latencies, report["total"] / 1e9, requests - len(report["details"]))

    return load


def hey(tool: Path, url: str, body: Path) -> Load:
    """Loads REST: hey posts `body`."""

    def load(clients: int, requests: int, rate: float) -> Answers:
        requests -= requests % clients  # hey sends as many from each client
        flags = ["-m", "POST", "-D", str(body), "-c", str(clients), "-n", str(requests)]
        flags += ["-t", str(_TIMEOUT_SECONDS), "-o", "csv", "-T", "application/json"]
        if rate:
            flags += ["-q", f"{rate / clients:.3f}"]
        start = time.monotonic()
        rows = list(csv.DictReader(io.StringIO(_run([str(tool), *flags, url]))))
        latencies: dict[str, list[float]] = {}
        for row in rows:
            latencies.setdefault(row["status-code"], []).append(1000 * float(row["response-time"]))
        return Answers(latencies, time.monotonic() - start, requests - len(rows))

    return load


def _run(command: Sequence[str]) -> str:
    return subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
    ).stdout


def find_tools(folder: Path) -> tuple[Path, Path]:
    """The programs ghz and hey in `folder`.

    Raises:
      UserError: One is missing.
    """
    tools = folder / "ghz", folder / "hey"
    for tool in tools:
        if not tool.is_file():
            raise UserError(f"--tools: {tool} is missing: `make load` installs it (needs Go)")
    return tools


def write_bodies(clip: Path, folder: Path) -> tuple[Path, Path]:
    """Writes one clip as gRPC and as REST take it."""
    wav = clip.read_bytes()
    grpc_body, rest_body = folder / "request.bin", folder / "request.json"
    grpc_body.write_bytes(wav_request(wav))
    instance = {"wav": {"b64": base64.b64encode(wav).decode()}}
    rest_body.write_text(json.dumps({"signature_name": "classify_wav", "instances": [instance]}))
    return grpc_body, rest_body


def points(latencies_ms: Sequence[float]) -> str:
    """p50 and p99 of latencies, as text."""
    if not latencies_ms:
        return "–"
    middle, high = np.percentile(latencies_ms, [50, 99])
    return f"{middle:.0f}, {high:.0f}"


def closed_loop(loads: dict[str, Load], requests: int, console: Console) -> tuple[bool, float]:
    """Prints the table by clients. Returns whether nothing failed, and the best rate of gRPC."""
    table = Table("clients", title="each client waits for its answer", box=None)
    for name in loads:
        for column in ("errors", "p50, p99 ms", "a second"):
            table.add_column(f"{name} {column}")
    errors, best = 0, 0.0
    for clients in CLIENTS:
        cells = [str(clients)]
        for name, load in loads.items():
            answers = load(clients, max(requests, 2 * clients), 0.0)
            rate = len(answers.of(_OK)) / answers.seconds
            errors += answers.errors
            best = max(best, rate if name == "gRPC" else 0.0)
            cells += [str(answers.errors), points(answers.of(_OK)), f"{rate:.1f}"]
            print(f"{name}, {clients} clients: {dict(answers.counts)}", file=sys.stderr, flush=True)
        table.add_row(*cells)
    console.print(table)
    return errors == 0, best


def overload(loads: dict[str, Load], rate: float, console: Console) -> bool:
    """Sends more than the server can do, then little. Returns whether it held."""
    table = Table("overload", title=f"{rate:.0f} requests a second", box=None)
    for column in ("answered", "refused", "other", "p50, p99 ms of answers", "of refusals"):
        table.add_column(column)
    table.add_column("then 1 client: errors, p50 over before")
    held = True
    for name, load in loads.items():
        before = load(1, RECOVERY_REQUESTS, 0.0)
        requests = round(rate * OVERLOAD_SECONDS)
        answers = load(OVERLOAD_CLIENTS[name], requests, rate)
        after = load(1, RECOVERY_REQUESTS, 0.0)
        refusals = answers.of(_REFUSED)
        other = answers.errors - len(refusals)
        slower = statistics.median(after.of(_OK) or [np.inf]) / statistics.median(before.of(_OK))
        sent = sum(answers.counts.values())
        table.add_row(
            name,
            f"{len(answers.of(_OK)) / sent:.0%}",
            f"{len(refusals) / sent:.0%}",
            str(other),
            points(answers.of(_OK)),
            points(refusals),
            f"{after.errors}, {slower:.2f}",
        )
        print(f"{name}, overload: {dict(answers.counts)}", file=sys.stderr, flush=True)
        in_time = bool(refusals) and statistics.median(refusals) <= REFUSAL_MS
        held &= in_time and not other and not after.errors and slower <= RECOVERY_ALLOWED
    console.print(table)
    return held


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both parts. Exit code 1 where a request failed or a refusal was slow."""
    parsed = parse_arguments(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        ghz_tool, hey_tool = find_tools(parsed.tools)
    except UserError as error:
        print(f"benchmarks.load: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (clip,) = write_clips(parsed.clips, folder, count=1, seconds=parsed.clip_seconds)
        grpc_body, rest_body = write_bodies(clip, folder)

        def loads(server: Server) -> dict[str, Load]:
            model = f"{server.url}/v1/models/genre:predict"
            return {
                "gRPC": ghz(ghz_tool, server.address, grpc_body),
                "REST": hey(hey_tool, model, rest_body),
            }

        server = Server(parsed.model_base_path, parsed.server_flag)
        try:
            fine, rate = closed_loop(loads(server), parsed.requests, console)
        finally:
            server.stop()
        flags = ["--queue-length", str(QUEUE_LENGTH), *parsed.server_flag]
        server = Server(parsed.model_base_path, flags)
        try:
            fine &= overload(loads(server), OVERLOAD * rate, console)
        finally:
            server.stop()
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
