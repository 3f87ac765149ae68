"""The client's command line."""

import argparse
import functools
import pathlib
from collections.abc import Sequence

from components.common.command_line import Parser, exit_code
from components.common.releases import Release, ReleaseStore
from serving.client import output, songs
from serving.client.connection import Tls
from serving.client.genre_client import GenreClient

_MOST_SECONDS = 366 * 24 * 3600


def build_parser() -> argparse.ArgumentParser:
    """The parser of the client's flags."""
    parser = Parser(
        prog="gatefold client",
        description="Ask the served model what genre songs are.",
        epilog=output.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    output.add_songs(parser)
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
    return parser


def add_server_flags(parser: argparse.ArgumentParser, *, servers: bool = False) -> None:
    """Adds the flags that say where the server is and how to speak to it.

    Args:
      parser: Gets the flags.
      servers: Take several servers to choose from, as a list.
    """
    parser.add_argument(
        "--server",
        nargs="+" if servers else None,
        default=["localhost:8500"] if servers else "localhost:8500",
        metavar="HOST:PORT",
        help=f"{'servers to choose from ' if servers else ''}(default: localhost:8500)",
    )
    parser.add_argument("--model", default="genre", help="(default: genre)")
    parser.add_argument(
        "--releases",
        type=pathlib.Path,
        metavar="DIR",
        help="the folder that the served versions were pushed to (output/serving/genre): it tells "
        "of a version's network and data where the server, as TF Serving, does not",
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
    """Seconds over 0 and up to a year, as argparse's type: gRPC cannot count to much more."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"expected seconds over 0, at most {_MOST_SECONDS}. Received: {text!r}"
        )
    return value


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
    )
    with client:
        client.versions()  # one clear line, rather than one a file, where no server answers
        results = client.stream(paths, concurrency=parsed.concurrency)
        find = functools.partial(find_release, client, parsed.releases)
        failed = output.print_results(parsed, results, len(paths), find)
    return 1 if failed else 0


def find_release(client: GenreClient, base: pathlib.Path | None, version: int) -> Release:
    """What a version says of itself, by the server or else by the folder of `--releases`."""
    release = client.release(version)
    return release if release.fields or base is None else ReleaseStore(str(base)).release(version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the client. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    return exit_code(lambda: run(parsed))
