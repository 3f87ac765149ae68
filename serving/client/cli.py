"""The client's command line."""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.audio.codec import SUFFIXES
from components.errors import UserError
from serving.client.connection import Tls
from serving.client.genre_client import FileResult, GenreClient
from serving.client.results import GenrePrediction
from serving.client.tables import song_table, songs_table

_EPILOG = """\
Exit codes: 0 every song was classified, 1 some were not (each with a line on standard error),
2 the command line is wrong.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the client's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description="Ask the served model what genre songs are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "songs",
        nargs="+",
        type=pathlib.Path,
        metavar="SONG",
        help="an audio file, or a folder to search for them (.wav .au .flac .mp3 .ogg)",
    )
    parser.add_argument(
        "--server", default="localhost:8500", metavar="HOST:PORT", help="(default: localhost:8500)"
    )
    parser.add_argument("--model", default="genre", help="(default: genre)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--version", type=int, metavar="N", help="ask this version (default: latest)"
    )
    which.add_argument("--label", metavar="NAME", help="the version of this label")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a song on standard output"
    )
    parser.add_argument(
        "--concurrency", type=int, default=4, metavar="N", help="songs at a time (default: 4)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="deadline of a call in seconds, retries included (default: 30)",
    )
    parser.add_argument(
        "--attempts",
        type=int,
        default=5,
        metavar="N",
        help="tries while the server is unavailable (default: 5)",
    )
    tls = parser.add_argument_group("encryption")
    tls.add_argument("--tls", action="store_true", help="speak TLS, trusting the system's issuers")
    tls.add_argument("--tls-ca", type=pathlib.Path, metavar="PEM", help="trust these issuers")
    tls.add_argument("--tls-certificate", type=pathlib.Path, metavar="PEM", help="show this one")
    tls.add_argument("--tls-key", type=pathlib.Path, metavar="PEM", help="its private key")
    tls.add_argument("--tls-server-name", metavar="NAME", help="expect this name of the server")
    return parser


def expand(songs: Sequence[pathlib.Path]) -> Iterator[pathlib.Path]:
    """The files that are named, and those under the folders that are named, in order.

    Raises:
      UserError: A folder holds no audio files.
    """
    for song in songs:
        if not song.is_dir():
            yield song
            continue
        found = sorted(
            path for path in song.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        if not found:
            raise UserError(f"{song} holds no audio files ({' '.join(SUFFIXES)})")
        yield from found


def _client(parsed: argparse.Namespace) -> GenreClient:
    if parsed.concurrency < 1 or parsed.attempts < 1 or not parsed.timeout > 0:
        raise UserError("--concurrency, --attempts and --timeout must be positive")
    files = (parsed.tls_ca, parsed.tls_certificate, parsed.tls_key)
    tls = None
    if parsed.tls or any(files) or parsed.tls_server_name:
        tls = Tls(*files, server_name=parsed.tls_server_name)
    return GenreClient(
        parsed.server,
        model=parsed.model,
        version=parsed.version,
        label=parsed.label,
        tls=tls,
        timeout_seconds=parsed.timeout,
        attempts=parsed.attempts,
    )


def _results(
    client: GenreClient, paths: Sequence[pathlib.Path], concurrency: int
) -> Iterator[FileResult]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("listening"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=len(paths) < 2 or not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=len(paths))
        for result in client.stream(paths, concurrency=concurrency):
            progress.advance(task)
            yield result


def run(parsed: argparse.Namespace) -> int:
    """Classifies what the command line names. Returns the exit code.

    Raises:
      UserError: Nothing can be classified.
    """
    paths = list(expand(parsed.songs))
    failed = 0
    predictions: list[GenrePrediction] = []
    with _client(parsed) as client:
        client.versions()  # one clear line, rather than one a file, where no server answers
        for result in _results(client, paths, parsed.concurrency):
            if result.prediction is None:
                failed += 1
                print(f"error: {_line(result)}", file=sys.stderr)
                if parsed.json:
                    print(json.dumps({"file": str(result.path), "error": result.error}), flush=True)
            elif parsed.json:
                print(json.dumps(result.prediction.as_json()), flush=True)
            else:
                predictions.append(result.prediction)
    if predictions:
        shown = song_table(predictions[0]) if len(paths) == 1 else songs_table(predictions)
        Console().print(shown)
    return 1 if failed else 0


def _line(result: FileResult) -> str:
    name = str(result.path)
    return result.error if result.error.startswith(name) else f"{name}: {result.error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the client. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        return run(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
