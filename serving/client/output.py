"""Predictions on standard output: as a table, as CSV or as JSON lines."""

import argparse
import csv
import functools
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import track

from components.common.csv_cells import escape_csv_cell
from components.common.releases import Release
from serving.client.genre_client import FileResult
from serving.client.songs import SUFFIXES, printable
from serving.client.tables import song_table, songs_table

CSV_COLUMNS = (
    "file",
    "genre",
    "probability",
    "second_genre",
    "second_probability",
    "close",
    "duration_seconds",
    "model",
    "version",
    "note",
    "error",
)
EXIT_CODES = """\
Exit codes: 0 every song was classified, 1 some were not (each with a line on standard error),
2 the command line is wrong, 141 whoever read the output went away.
"""


def add_songs(parser: argparse.ArgumentParser) -> None:
    """Adds the songs, as paths of files and folders."""
    parser.add_argument(
        "songs",
        nargs="+",
        type=pathlib.Path,
        metavar="SONG",
        help=f"an audio file, or a folder to search for them ({' '.join(SUFFIXES)})",
    )


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --json and --csv."""
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument(
        "--json", action="store_true", help="one JSON object a song on standard output"
    )
    formats.add_argument(
        "--csv", action="store_true", help="a CSV table on standard output, one row a song"
    )


def csv_row(result: FileResult, release: Release | None = None) -> list[object]:
    """One song as `CSV_COLUMNS`, safe for spreadsheets; `release` is the version that answered."""
    prediction = result.prediction
    if prediction is None:
        empty = [""] * (len(CSV_COLUMNS) - 2)
        return list(map(escape_csv_cell, (os.fspath(result.path), *empty, result.error)))
    release = release or Release(prediction.version)
    second = [*prediction.ranked(), ("", 0.0)][1]
    cells = (
        prediction.name,
        prediction.genre,
        f"{prediction.probability:.6f}",
        second[0],
        f"{second[1]:.6f}",
        "yes" if prediction.close else "no",
        f"{prediction.duration_seconds:.3f}",
        release.model(prediction.model),
        prediction.version,
        release.note,
        "",
    )
    return list(map(escape_csv_cell, cells))


def print_results(
    parsed: argparse.Namespace,
    results: Iterator[FileResult],
    total: int,
    find_release: Callable[[int], Release],
) -> int:
    """Prints results as they come, or a table once all are there; progress where there is a screen.

    Args:
      parsed: With `json` and `csv`, see `add_output_flags`.
      results: One a song.
      total: How many there will be.
      find_release: Finds what is known of a version; it is asked once for each.

    Returns:
      How many songs were not classified.
    """
    find_release = functools.cache(find_release)
    console = Console(stderr=True)
    hidden = total < 2 or not console.is_terminal
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if parsed.csv:
        writer.writerow(CSV_COLUMNS)
    predictions = []
    for result in track(
        results, "listening", total=total, console=console, transient=True, disable=hidden
    ):
        if result.prediction is not None:
            predictions.append(result.prediction)
        else:
            name = printable(result.path)
            named = result.error.startswith(name)
            _print_error(result.error if named else f"{name}: {result.error}")
        release = find_release(result.prediction.version) if result.prediction else None
        if parsed.json:
            facts = {"release": release.facts} if release and release.facts else {}
            print(json.dumps(result.as_json(release) | facts), flush=True)
        elif parsed.csv:
            writer.writerow(csv_row(result, release))
            sys.stdout.flush()
    if predictions and not (parsed.json or parsed.csv):
        release, ascii_only = find_release(predictions[0].version), not _draws_blocks()
        if total == 1:
            _print_table(song_table(predictions[0], release, ascii_only=ascii_only))
        else:
            _print_table(songs_table(predictions, release, ascii_only=ascii_only))
    return total - len(predictions)


def _print_error(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)


def _draws_blocks() -> bool:
    try:
        "■█".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _print_table(shown: RenderableType) -> None:
    console = Console()
    if console.is_terminal:
        console.print(shown)
        return
    # Wide enough that nothing is wrapped: whoever reads a pipe reads lines.
    wide = Console(width=100_000)
    with wide.capture() as captured:
        wide.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip())
    sys.stdout.flush()
