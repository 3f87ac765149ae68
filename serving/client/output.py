"""Predictions on standard output: as a table, as CSV or as JSON lines."""

import argparse
import csv
import io
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import track

from components.common.csv_cells import escape_csv_cell
from components.common.errors import UserError
from components.common.releases import Release
from serving.client.genre_client import FileResult
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


def csv_row(result: FileResult) -> list[object]:
    """One song as `CSV_COLUMNS`, safe for spreadsheets."""
    prediction = result.prediction
    if prediction is None:
        empty = [""] * (len(CSV_COLUMNS) - 2)
        return list(map(escape_csv_cell, (os.fspath(result.path), *empty, result.error)))
    second = [*prediction.ranked(), ("", 0.0)][1]
    cells = (
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
    )
    return list(map(escape_csv_cell, cells))


def exit_code(run: Callable[[], int], *, interrupted: int) -> int:
    """Runs a command whose output may be read by a program.

    What the output's encoding lacks is escaped; a reader that goes away (`… | head`) ends it
    quietly.

    Args:
      run: The command.
      interrupted: Its exit code after Ctrl-C.

    Returns:
      The command's exit code; 1 for a UserError, which is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return run()
    except UserError as error:
        print_error(str(error))
        return 1
    except BrokenPipeError:
        # Python flushes standard output at exit, and would complain about it there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return interrupted


def print_error(text: str) -> None:
    """Prints an error as one line on standard error."""
    print(f"error: {text}", file=sys.stderr, flush=True)


class Report:
    """Prints results as they come; a table once all are there."""

    def __init__(
        self,
        parsed: argparse.Namespace,
        find_release: Callable[[GenrePrediction], Release],
        *,
        one_by_one: bool = False,
    ) -> None:
        """Prints the head of a CSV table.

        Args:
          parsed: With `json` and `csv`, see `add_output_flags`.
          find_release: Finds what is known of the version that made a prediction.
          one_by_one: Print a line a song as it comes instead of a table at the end.
        """
        self._json, self._csv = parsed.json, parsed.csv
        self._find_release = find_release
        self._one_by_one = one_by_one
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        if self._csv:
            self._writer.writerow(CSV_COLUMNS)

    def add_all(self, results: Iterator[FileResult], total: int) -> int:
        """Takes results, with progress on a terminal. Returns how many of them are errors."""
        console = Console(stderr=True)
        shown = track(
            results,
            "listening",
            total=total,
            console=console,
            transient=True,
            disable=total < 2 or not console.is_terminal,
        )
        predictions = []
        for result in shown:
            self.add(result)
            if result.prediction is not None:
                predictions.append(result.prediction)
        if predictions and not (self._json or self._csv or self._one_by_one):
            release, ascii_only = self._find_release(predictions[0]), not _draws_blocks()
            if total == 1:
                _print(song_table(predictions[0], release, ascii_only=ascii_only))
            else:
                _print(songs_table(predictions, release, ascii_only=ascii_only))
        return total - len(predictions)

    def add(self, result: FileResult) -> None:
        """Prints one result, unless it waits for the table."""
        prediction = result.prediction
        if prediction is None:
            name = printable(result.path)
            named = result.error.startswith(name)
            print_error(result.error if named else f"{name}: {result.error}")
        if self._json:
            line = result.as_json()
            release = self._find_release(prediction) if prediction else None
            if release is not None and release.fields:
                line["release"] = dict(release.fields)
            print(json.dumps(line), flush=True)
        elif self._csv:
            self._writer.writerow(csv_row(result))
            sys.stdout.flush()
        elif self._one_by_one and prediction is not None:
            print(song_line(prediction), flush=True)


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
