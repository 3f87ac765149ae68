"""What genre songs are, straight from the pushed model: no server needed.

    python -m serving.classify SONG…

prints what `python -m serving.client` prints.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from components.common.command_line import Parser, exit_code
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from serving.client import output, songs
from serving.client.genre_client import stream_files
from serving.local_model import LocalModel

# One song is read and decoded while the model listens to another.
_AT_A_TIME = 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of the flags."""
    parser = Parser(
        prog="gatefold classify",
        description="Say what genre songs are, with the model that was pushed last.",
        epilog=output.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    output.add_songs(parser)
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("output"),
        metavar="DIR",
        help="the pipeline's output folder (default: output)",
    )
    parser.add_argument(
        "--releases",
        type=pathlib.Path,
        metavar="DIR",
        help="the folder that versions are pushed to (default: DIR/serving/genre of --output); "
        "loading a SavedModel runs its code: name folders that you trust only",
    )
    parser.add_argument(
        "--version", type=int, metavar="N", help="use this version (default: the newest)"
    )
    parser.add_argument(
        "--tags",
        action="store_true",
        help="say instead what a published network hears that was trained to tag music with 50 "
        "words; it needs no model of yours",
    )
    output.add_output_flags(parser)
    return parser


def run(parsed: argparse.Namespace) -> int:
    """Classifies what the command line names. Returns the exit code.

    Raises:
      UserError: Nothing can be classified.
    """
    if parsed.tags:
        raise UserError("--tags is for the command `gatefold classify --tags SONG`")
    paths = list(songs.find_songs(parsed.songs))
    store = ReleaseStore(str(parsed.releases or parsed.output / "serving" / "genre"))
    model = LocalModel(store, store.require(parsed.version))
    results = stream_files(model.classify_file, paths, concurrency=_AT_A_TIME)
    failed = output.print_results(parsed, results, len(paths), store.release)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    return exit_code(lambda: run(parsed))


if __name__ == "__main__":
    sys.exit(main())
