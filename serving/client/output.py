"""Predictions on standard output: as a table, as CSV or as JSON lines."""

import argparse
import csv
import io
import json
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, RenderableType

from serving.client.genre_client import FileResult
from serving.client.releases import Release
from serving.client.results import GenrePrediction
from serving.client.songs import SUFFIXES, printable
from serving.client.tables import song_line, song_table, songs_table

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
    "error",
)
EXIT_CODES = """\
Exit codes: 0 every song was classified, 1 some were not (each with a line on standard error),
2 the command line is wrong, 141 whoever read the output went away.
"""
BROKEN_PIPE = 141  # what a shell says of a program whose reader went away

FindRelease = Callable[[GenrePrediction], Release]


class Report(Protocol):
    """Takes results as they come."""

    def add(self, result: FileResult) -> None:
        """Takes one result."""

    def finish(self) -> None:
        """Prints what waited for the last result."""


def add_songs(parser: argparse.ArgumentParser, *, nargs: str) -> None:
    """Adds the songs, as paths of files and folders."""
    parser.add_argument(
        "songs",
        nargs=nargs,
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


def make_report(
    parsed: argparse.Namespace, find_release: FindRelease, *, one_by_one: bool = False
) -> Report:
    """The report that the flags ask for.

    Args:
      parsed: With `json` and `csv`, see `add_output_flags`.
      find_release: Finds what is known of the version that made a prediction.
      one_by_one: Print a line a song as it comes instead of a table at the end.
    """
    if parsed.json:
        return _JsonLines(find_release)
    if parsed.csv:
        return _Csv()
    return _Lines() if one_by_one else _Table(find_release)


def csv_row(result: FileResult) -> list[object]:
    """One song as `CSV_COLUMNS`."""
    prediction = result.prediction
    if prediction is None:
        return [os.fspath(result.path), *[""] * (len(CSV_COLUMNS) - 2), result.error]
    second = [*prediction.ranked(), ("", 0.0)][1]
    return [
        prediction.name,
        prediction.genre,
        f"{prediction.probability:.6f}",
        second[0],
        f"{second[1]:.6f}",
        "yes" if prediction.close else "no",
        f"{prediction.duration_seconds:.3f}",
        prediction.model,
        prediction.version,
        "",
    ]


def make_output_safe() -> None:
    """Lets standard output and error escape what their encoding lacks instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_by_broken_pipe() -> int:
    """Ends output quietly once its reader is gone (`… | head`). Returns the exit code."""
    # Python flushes standard output at exit, and would complain about it there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def print_error(text: str) -> None:
    """Prints an error as one line on standard error."""
    print(f"error: {text}", file=sys.stderr, flush=True)


def _print_error_of(result: FileResult) -> None:
    name = printable(result.path)
    print_error(result.error if result.error.startswith(name) else f"{name}: {result.error}")


class _JsonLines:
    def __init__(self, find_release: FindRelease) -> None:
        self._find_release = find_release

    def add(self, result: FileResult) -> None:
        if result.prediction is None:
            _print_error_of(result)
            line: dict[str, object] = {"file": os.fspath(result.path), "error": result.error}
        else:
            line = result.prediction.as_json()
            release = self._find_release(result.prediction)
            if release.fields:
                line["release"] = dict(release.fields)
        print(json.dumps(line), flush=True)

    def finish(self) -> None:
        pass


class _Csv:
    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def add(self, result: FileResult) -> None:
        if result.prediction is None:
            _print_error_of(result)
        self._writer.writerow(csv_row(result))
        sys.stdout.flush()

    def finish(self) -> None:
        sys.stdout.flush()


class _Lines:
    def add(self, result: FileResult) -> None:
        if result.prediction is None:
            _print_error_of(result)
        else:
            print(song_line(result.prediction), flush=True)

    def finish(self) -> None:
        pass


class _Table:
    def __init__(self, find_release: FindRelease) -> None:
        self._find_release = find_release
        self._results = 0
        self._predictions: list[GenrePrediction] = []

    def add(self, result: FileResult) -> None:
        self._results += 1
        if result.prediction is None:
            _print_error_of(result)
        else:
            self._predictions.append(result.prediction)

    def finish(self) -> None:
        if not self._predictions:
            return
        first = self._predictions[0]
        release, ascii_only = self._find_release(first), not _draws_blocks()
        if self._results == 1:
            _print(song_table(first, release, ascii_only=ascii_only))
        else:
            _print(songs_table(self._predictions, release, ascii_only=ascii_only))


def _draws_blocks() -> bool:
    try:
        "■█".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _print(shown: RenderableType) -> None:
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
