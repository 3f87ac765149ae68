"""Writes one version into a serving folder, whole or not at all, under the folder's lock.

On a local disk a version is written beside the others in a hidden folder, and renamed once it is
complete. Object stores cannot rename a folder: there `saved_model.pb`, without which no server
loads a version, comes last, and what an error leaves is removed.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.common import files, push_lease
from components.common.errors import UserError
from components.common.releases.records import LOG_FILE, MODEL_FILE, RELEASE_FILE, checksums
from components.common.storage import is_remote

_STAGING = ".push-"
_LOCK_FILE = ".push.lock"


class Writer:
    """Writes into a serving folder whose lock is held: see `locked`."""

    def __init__(self, base: str, require_lock: Callable[[], None] | None = None) -> None:
        """Writes nothing yet.

        Args:
          base: The serving folder.
          require_lock: Raises a UserError if the lock may be another process's by now; None for a
            lock that lasts as long as its process.
        """
        self._base = base
        self._require_lock = require_lock or (lambda: None)

    def write_version(
        self,
        number: int,
        *,
        sources: Mapping[str, str],
        required: Mapping[str, str],
        release: bytes,
        log: bytes,
    ) -> None:
        """Writes a version, and then replaces the log.

        Args:
          number: Of the version.
          sources: Path of every file by its path in the version.
          required: SHA-256 of every file by its path in the version.
          release: Content of `release.json`.
          log: Content of the log, with the version's line.

        Raises:
          RuntimeError: The copy differs from what was to be copied.
          UserError: An object store refused a file; nothing has changed.
        """
        if is_remote(self._base):
            self._write_remote(f"{self._base}/{number}", sources, required, release)
            self._require_lock()
            with contextlib.suppress(*files.store_errors()):
                # The version is complete and has its line: the next change adds it to the log.
                self.write_log(log)
            return
        with _staging(self._base) as staging:
            version = staging / "version"
            for name, source in sources.items():
                _copy_local(source, version / name)
            files.write_synced(version / RELEASE_FILE, release)
            if checksums(str(version)) != required:
                raise RuntimeError(f"the copy of the model in {version} is not what was copied")
            files.write_synced(staging / LOG_FILE, log)
            # From here on nothing needs room: what is left to do is two renames.
            _publish(version, Path(self._base) / str(number))
            _publish(staging / LOG_FILE, Path(self._base) / LOG_FILE)

    def write_log(self, log: bytes) -> None:
        """Replaces the log as a whole: nobody ever reads half a line."""
        if is_remote(self._base):
            with files.open_file(f"{self._base}/{LOG_FILE}", "wb") as file:
                file.write(log)
            return
        with _staging(self._base) as staging:
            files.write_synced(staging / LOG_FILE, log)
            _publish(staging / LOG_FILE, Path(self._base) / LOG_FILE)

    def _write_remote(
        self, target: str, sources: Mapping[str, str], required: Mapping[str, str], release: bytes
    ) -> None:
        try:
            for name in (name for name in sources if name != MODEL_FILE):
                files.copy(sources[name], f"{target}/{name}")
            with files.open_file(f"{target}/{RELEASE_FILE}", "wb") as file:
                file.write(release)
            copied = checksums(target)
            self._require_lock()
            # Last: until it is there, no server loads the version.
            files.copy(sources[MODEL_FILE], f"{target}/{MODEL_FILE}")
            copied[MODEL_FILE] = files.sha256(f"{target}/{MODEL_FILE}")
            if copied != required:
                raise RuntimeError(f"the copy of the model in {target} is not what was copied")
        except BaseException as error:
            _remove_remote(target)
            if not isinstance(error, files.store_errors()):
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(
                f"the model cannot be pushed to {self._base}: {reason}. "
                "Production keeps what it has; run again once the store takes it"
            ) from error


@contextlib.contextmanager
def locked(base: str) -> Iterator[Writer]:
    """Holds the lock of a serving folder, after waiting for others to end.

    Makes the folder where it is missing. Object stores other than S3 have no lock.

    Raises:
      UserError: The disk is full, or the folder cannot be used, here or in the block.
    """
    try:
        if base.startswith("s3://"):
            with push_lease.held(f"{base}/{_LOCK_FILE}") as lease:
                yield Writer(base, lease.require)
            return
        if is_remote(base):
            yield Writer(base)
            return
        Path(base).mkdir(parents=True, exist_ok=True)
        # Never emptied: who else may write there could have put a link to another file.
        with (Path(base) / _LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Left by a process that was killed: with the lock held, no other is writing.
            for stale in Path(base).glob(f"{_STAGING}*"):
                if stale.is_dir() and not stale.is_symlink():
                    shutil.rmtree(stale)
            yield Writer(base)
    except FileNotFoundError:
        raise  # of what is to be pushed: a fault of ours
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"the model cannot be pushed to {base}: {error.strerror or error}{where}. Production "
            "keeps what it has; make room or give another --output, then run again"
        ) from error


@contextlib.contextmanager
def _staging(base: str) -> Iterator[Path]:
    folder = Path(base) / f"{_STAGING}{uuid.uuid4().hex[:8]}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(staged: Path, target: Path) -> None:
    staged.rename(target)
    files.sync_folder(target.parent)


def _remove_remote(target: str) -> None:
    with contextlib.suppress(Exception):  # a store that refused a file may refuse this, too
        files.remove(f"{target}/{MODEL_FILE}")
        for name in sorted(files.files_below(target)):
            files.remove(f"{target}/{name}")


def _copy_local(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.open_file(source) as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())
