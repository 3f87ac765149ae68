"""The client's command line."""

import argparse
import math
import pathlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.common.errors import UserError
from serving.client import output, songs
from serving.client.connection import Tls
from serving.client.genre_client import FileResult, GenreClient
from serving.client.releases import find_release


def build_parser() -> argparse.ArgumentParser:
    """The parser of the client's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description="Ask the served model what genre songs are.",
        epilog=output.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    output.add_songs(parser, nargs="+")
    add_server_flags(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--version", type=int, metavar="N", help="ask this version (default: latest)"
    )
    which.add_argument("--label", metavar="NAME", help="the version of this label")
    output.add_output_flags(parser)
    parser.add_argument(
        "--concurrency", type=positive, default=4, metavar="N", help="songs at a time (default: 4)"
    )
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=30.0,
        metavar="S",
        help="deadline of a call in seconds, retries included (default: 30)",
    )
    parser.add_argument(
        "--attempts",
        type=positive,
        default=5,
        metavar="N",
        help="tries while the server is unavailable (default: 5)",
    )
    return parser


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say where the server is and how to speak to it."""
    parser.add_argument(
        "--server", default="localhost:8500", metavar="HOST:PORT", help="(default: localhost:8500)"
    )
    parser.add_argument("--model", default="genre", help="(default: genre)")
    parser.add_argument(
        "--releases",
        type=pathlib.Path,
        metavar="DIR",
        help="the folder that the served versions were pushed to (output/serving/genre): with it "
        "a version's network and data are named",
    )
    tls = parser.add_argument_group("encryption")
    tls.add_argument("--tls", action="store_true", help="speak TLS, trusting the system's issuers")
    tls.add_argument("--tls-ca", type=pathlib.Path, metavar="PEM", help="trust these issuers")
    tls.add_argument("--tls-certificate", type=pathlib.Path, metavar="PEM", help="show this one")
    tls.add_argument("--tls-key", type=pathlib.Path, metavar="PEM", help="its private key")
    tls.add_argument("--tls-server-name", metavar="NAME", help="expect this name of the server")


def read_tls(parsed: argparse.Namespace) -> Tls | None:
    """What the flags say of encryption; None for plain text."""
    files = (parsed.tls_ca, parsed.tls_certificate, parsed.tls_key)
    if not (parsed.tls or any(files) or parsed.tls_server_name):
        return None
    return Tls(*files, server_name=parsed.tls_server_name)


def positive(text: str) -> int:
    """A whole number from 1 up, as argparse's type."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up. Received: {text!r}")
    return int(text)


def positive_seconds(text: str) -> float:
    """Seconds over 0, as argparse's type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds over 0. Received: {text!r}")
    return value


def with_progress(results: Iterator[FileResult], total: int) -> Iterator[FileResult]:
    """Passes results on, and shows on a terminal how many there are."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("listening"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=total < 2 or not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            progress.advance(task)
            yield result


def run(parsed: argparse.Namespace) -> int:
    """Classifies what the command line names. Returns the exit code.

    Raises:
      UserError: Nothing can be classified.
    """
    paths = list(songs.find_songs(parsed.songs))
    client = GenreClient(
        parsed.server,
        model=parsed.model,
        version=parsed.version,
        label=parsed.label,
        tls=read_tls(parsed),
        timeout_seconds=parsed.timeout,
        attempts=parsed.attempts,
    )
    failed = 0
    with client:
        client.versions()  # one clear line, rather than one a file, where no server answers
        report = output.make_report(
            parsed, lambda prediction: find_release(parsed.releases, prediction.version)
        )
        results = client.stream(paths, concurrency=parsed.concurrency)
        for result in with_progress(results, len(paths)):
            failed += result.prediction is None
            report.add(result)
        report.finish()
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the client. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    output.make_output_safe()
    try:
        return run(parsed)
    except UserError as error:
        output.print_error(str(error))
        return 1
    except BrokenPipeError:
        return output.end_by_broken_pipe()
    except KeyboardInterrupt:
        return 130
