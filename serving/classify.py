"""What genre songs are, straight from the pushed model: no server needed.

    python -m serving.classify SONG…

prints what `python -m serving.client` prints. With --watch it goes on with every song that is put
into a folder.
"""

import argparse
import contextlib
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

from components.common.errors import UserError
from components.common.releases import ReleaseStore
from serving.client import output, songs
from serving.client.genre_client import stream_files
from serving.local_model import LocalModel

_POLL_SECONDS = 1.0
# One song is read and decoded while the model listens to another.
_AT_A_TIME = 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of the flags."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.classify",
        description="Say what genre songs are, with the model that was pushed last.",
        epilog=output.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    output.add_songs(parser, nargs="*")
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
        help="the folder that versions are pushed to (default: DIR/serving/genre of --output)",
    )
    parser.add_argument(
        "--version", type=int, metavar="N", help="use this version (default: the newest)"
    )
    output.add_output_flags(parser)
    parser.add_argument(
        "--watch",
        type=pathlib.Path,
        metavar="FOLDER",
        help="classify what is in this folder and whatever is put into it, until Ctrl-C",
    )
    return parser


def watch(folder: pathlib.Path) -> Iterator[list[pathlib.Path]]:
    """Songs of a folder, those that are there and then those that come or change.

    A song counts once it has stopped growing.

    Yields:
      Every second the songs that are new, which may be none.
    """
    seen: dict[pathlib.Path, tuple[int, int]] = {}
    before: dict[pathlib.Path, tuple[int, int]] = {}
    while True:
        now = {}
        for path in songs.songs_below(folder):
            with contextlib.suppress(OSError):  # it was there when the folder was listed
                status = path.stat()
                now[path] = (status.st_size, status.st_mtime_ns)
        ready = [
            path
            for path, state in now.items()
            if state == before.get(path) and state != seen.get(path)
        ]
        seen.update((path, now[path]) for path in ready)
        before = now
        yield ready
        time.sleep(_POLL_SECONDS)


def run(parsed: argparse.Namespace) -> int:
    """Classifies what the command line names. Returns the exit code.

    Raises:
      UserError: Nothing can be classified.
    """
    paths = list(songs.find_songs(parsed.songs))
    if parsed.watch is not None and not parsed.watch.is_dir():
        raise UserError(f"--watch {songs.printable(parsed.watch)} is not a folder")
    store = ReleaseStore(str(parsed.releases or parsed.output / "serving" / "genre"))
    model = LocalModel(store, store.require(parsed.version))
    report = output.Report(parsed, lambda _: model.release, one_by_one=parsed.watch is not None)
    results = stream_files(model.classify_file, paths, concurrency=_AT_A_TIME)
    failed = report.add_all(results, len(paths))
    if parsed.watch is None:
        return 1 if failed else 0
    print(f"watching {songs.printable(parsed.watch)}; Ctrl-C ends it", file=sys.stderr, flush=True)
    complaint = ""
    for ready in watch(parsed.watch):
        if ready and parsed.version is None:
            model, complaint = _newest_model(store, model, complaint)
        for result in stream_files(model.classify_file, ready, concurrency=_AT_A_TIME):
            report.add(result)
    raise AssertionError("watching ends by an interrupt")


def _newest_model(store: ReleaseStore, model: LocalModel, complaint: str) -> tuple[LocalModel, str]:
    """The model that was pushed last; the one before, and why, where that cannot be had.

    Prints the reason where it is another than the last `complaint`.
    """
    try:
        newest = store.require()
        return (model if newest == model.release.version else LocalModel(store, newest)), ""
    except UserError as error:
        if str(error) != complaint:
            output.print_error(f"{error}; going on with version {model.release.version}")
        return model, str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if not parsed.songs and parsed.watch is None:
        parser.error("name a SONG or a folder of them, or --watch a folder")
    return output.exit_code(lambda: run(parsed), interrupted=130 if parsed.watch is None else 0)


if __name__ == "__main__":
    sys.exit(main())
