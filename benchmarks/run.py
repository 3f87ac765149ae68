"""Time, processor time and memory of every stage of a run, fresh and again from the cache.

    python -m benchmarks.run                        # the built-in sample
    python -m benchmarks.run --tracks 1000          # GTZAN's size, composed
    python -m benchmarks.run --data genres_original -- --models cnn

What stands behind `--` goes to local_runner.py. The run's own table is shown as it comes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.common.errors import UserError
from components.gtzan.genres import GENRES
from components.gtzan.synthetic import TRACKS_PER_GENRE, write_sample

_ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tracks", type=int, help="composed tracks (default: the sample's 120)")
    parser.add_argument("--data", help="a folder of genre folders instead of composed music")
    parser.add_argument("--keep", metavar="DIR", help="output folder that is kept")
    parser.add_argument("run", nargs="*", help="arguments of local_runner.py, behind --")
    options = parser.parse_args()
    if options.data and options.tracks:
        parser.error("--tracks is for composed music: leave out --data")
    if options.tracks is not None and options.tracks < 3 * len(GENRES):
        parser.error(f"--tracks must be at least {3 * len(GENRES)}. Received: {options.tracks}")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-run-") as scratch:
        data = options.data
        if data is None:
            each = -(-options.tracks // len(GENRES)) if options.tracks else TRACKS_PER_GENRE
            data = str(write_sample(Path(scratch) / "music", tracks_per_genre=each))
        output = Path(options.keep or Path(scratch) / "output")
        arguments = ["--data", data, "--output", str(output), *options.run]
        try:
            rounds = [_run(arguments, output) for _ in range(2)]
        except UserError as error:
            print(f"benchmarks.run: {error}", file=sys.stderr)
            return 1
        console.print(_table(*rounds))
    return 0


def _run(arguments: list[str], output: Path) -> tuple[float, list[dict[str, Any]]]:
    """Runs the pipeline: wall-clock seconds of the whole process, and its stages' rows."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "local_runner.py", *arguments], cwd=_ROOT, check=False
    ).returncode
    seconds = time.monotonic() - started
    if done not in (0, 2):
        raise UserError(f"the run ended with exit code {done}; its log is in {output}/logs")
    newest = max((output / "logs").glob("*.json"))
    return seconds, json.loads(newest.read_text())


def _table(
    fresh: tuple[float, list[dict[str, Any]]], again: tuple[float, list[dict[str, Any]]]
) -> Table:
    table = Table(title="stages of a run, and of the same run again")
    for name in ("stage", "seconds", "processor", "peak memory", "again"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    (fresh_seconds, rows), (again_seconds, later) = fresh, again
    for row, second in zip(rows, later, strict=True):
        note = "cached" if second["cached"] else f"{second['seconds']:.1f} s"
        table.add_row(
            row["stage"],
            f"{row['seconds']:.1f}",
            f"{row['processor_seconds']:.1f} s",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            note,
        )
    stages, processor = (sum(row[key] for row in rows) for key in ("seconds", "processor_seconds"))
    peak = max(row["peak_bytes"] for row in rows)
    table.add_section()
    table.add_row(
        "all stages", f"{stages:.0f}", f"{processor:.0f} s", f"{peak / 2**30:.2f} GiB", ""
    )
    table.add_row("whole process", f"{fresh_seconds:.0f}", "", "", f"{again_seconds:.0f} s")
    return table


if __name__ == "__main__":
    sys.exit(main())
