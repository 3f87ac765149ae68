"""Fetches the real GTZAN through mirdata, which verifies its checksums."""

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.common import progress
from components.common.errors import UserError

# Where the archive's genre folders are, below the folder that it is downloaded to.
GENRES_FOLDER = "gtzan_genre/genres"

_COMPLETE = ".complete"


class DownloadError(UserError):
    """GTZAN could not be fetched; the message tells the user why."""


def download_gtzan(folder: Path | str, *, initialize: Callable[..., Any] | None = None) -> Path:
    """Downloads and unpacks GTZAN (1.2 GB, 1000 tracks), unless that was done before.

    The archive's and every track's MD5 are compared with mirdata's index. The result can be given
    as `--data`, and so can `folder`.

    Args:
      folder: Where to write; created if missing.
      initialize: Replaces `mirdata.initialize`, to read from another source.

    Returns:
      The folder of the genre folders.

    Raises:
      DownloadError: There is no connection, or what arrived is not what was published.
    """
    folder = Path(folder)
    genres = folder / GENRES_FOLDER
    if (folder / _COMPLETE).exists():
        return genres
    archive = folder / "gtzan_genre" / "genres.tar.gz"
    left_over = archive.exists()
    try:
        with _watching(archive):
            missing, invalid = _fetch(folder, initialize)
    except OSError as error:  # mirdata's bad checksum is one, and so is every failure of urllib
        # mirdata would take the rest of an interrupted download for the whole file, every time.
        archive.unlink(missing_ok=True)
        if left_over:
            return download_gtzan(folder, initialize=initialize)
        raise DownloadError(
            f"GTZAN could not be downloaded ({getattr(error, 'reason', None) or error}). "
            "Try again with a connection, or give a folder that you have with --data. "
            f"Received: {folder}"
        ) from error
    if missing or invalid:
        raise DownloadError(
            f"GTZAN arrived damaged: {len(missing)} files are missing and {len(invalid)} differ "
            f"from the published checksums, as {(missing + invalid)[0]}. Delete the folder and try "
            f"again. Received: {folder}"
        )
    (folder / _COMPLETE).touch()
    return genres


def _fetch(folder: Path, initialize: Callable[..., Any] | None) -> tuple[list[str], list[str]]:
    """Downloads, unpacks and verifies; returns the audio files missing and those that differ."""
    if initialize is None:
        import mirdata  # slow to import

        initialize = mirdata.initialize
    silence = io.StringIO()
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the raised errors say all that matters of mirdata's log
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            dataset = initialize("gtzan_genre", data_home=str(folder))
            dataset.download(partial_download=["all"])
            missing, invalid = dataset.validate(verbose=False)
    finally:
        logging.disable(disabled)
    return _audio(missing), _audio(invalid)


@contextlib.contextmanager
def _watching(archive: Path) -> Iterator[None]:
    """Reports how much of the archive has arrived while the `with` block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if archive.exists():
                progress.report("MB downloaded", archive.stat().st_size // 1_000_000)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _audio(index: dict[str, Any]) -> list[str]:
    """Lists the audio files; mirdata's index also names annotations, a separate download."""
    paths = [path for files in index.get("tracks", {}).values() for path in files]
    return sorted(path for path in paths if path.endswith(".wav"))
