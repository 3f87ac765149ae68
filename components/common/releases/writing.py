"""Writes one version into a serving folder, whole or not at all, under the folder's lock.

On a local disk a version is written beside the others under a hidden name, and renamed once it is
complete; two processes never write at the same time. Object stores cannot rename a folder: there
`saved_model.pb`, without which no server loads a version, comes last, and what an error leaves is
removed.
"""

import contextlib
import dataclasses
import errno
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
_STAGED_LOG = ".releases-"
_LOCK_FILE = ".push.lock"
_BLOCK_BYTES = 1 << 20
_USERS_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


@dataclasses.dataclass(frozen=True)
class NewVersion:
    """A version to be written.

    Attributes:
      number: Its number.
      sources: Path of every file by its path in the version.
      required: SHA-256 of every file by its path in the version.
      release: Content of `release.json`.
    """

    number: int
    sources: Mapping[str, str]
    required: Mapping[str, str]
    release: bytes


class Writer:
    """Writes into a serving folder, whose lock it stands for."""

    def __init__(self, base: str, require_lock: Callable[[], None] | None = None) -> None:
        """Writes nothing yet: see `locked`.

        Args:
          base: The serving folder.
          require_lock: Raises a UserError if the lock may be another process's by now; None for a
            lock that lasts as long as its process.
        """
        self._base = base
        self._require_lock = require_lock or (lambda: None)

    def write_version(self, new: NewVersion, log: bytes) -> None:
        """Writes a version, and then replaces the log.

        Raises:
          RuntimeError: The copy differs from what was to be copied.
          UserError: An object store refused a file; nothing has changed.
        """
        if is_remote(self._base):
            self._write_remote(new, log)
        else:
            self._write_local(new, log)

    def write_log(self, log: bytes) -> None:
        """Replaces the log as a whole: nobody ever reads half a line."""
        if is_remote(self._base):
            with files.open_file(f"{self._base}/{LOG_FILE}", "wb") as file:
                file.write(log)
        else:
            self._publish_log(self._stage_log(log))

    def _write_local(self, new: NewVersion, log: bytes) -> None:
        staging = Path(self._base) / f"{_STAGING}{new.number}-{uuid.uuid4().hex[:8]}"
        try:
            for name, source in new.sources.items():
                _copy_local(source, staging / name)
            files.write_synced(staging / RELEASE_FILE, new.release)
            if checksums(str(staging)) != new.required:
                raise RuntimeError(f"the copy of the model in {staging} is not what was copied")
            staged_log = self._stage_log(log)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        # From here on nothing needs room: what is left to do is two renames.
        _publish(staging, Path(self._base) / str(new.number))
        self._publish_log(staged_log)

    def _stage_log(self, log: bytes) -> Path:
        staged = Path(self._base) / f"{_STAGED_LOG}{uuid.uuid4().hex[:8]}"
        try:
            files.write_synced(staged, log)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def _publish_log(self, staged: Path) -> None:
        staged.rename(Path(self._base) / LOG_FILE)
        files.sync_folder(Path(self._base))

    def _write_remote(self, new: NewVersion, log: bytes) -> None:
        target = f"{self._base}/{new.number}"
        try:
            for name in (name for name in new.sources if name != MODEL_FILE):
                files.copy(new.sources[name], f"{target}/{name}")
            with files.open_file(f"{target}/{RELEASE_FILE}", "wb") as file:
                file.write(new.release)
            copied = checksums(target)
            self._require_lock()
            # Last: until it is there, no server loads the version.
            files.copy(new.sources[MODEL_FILE], f"{target}/{MODEL_FILE}")
            copied[MODEL_FILE] = files.sha256(f"{target}/{MODEL_FILE}")
            if copied != new.required:
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
        self._require_lock()
        with contextlib.suppress(*files.store_errors()):
            # The version is complete and has its line: the next change adds it to the log.
            self.write_log(log)


@contextlib.contextmanager
def locked(base: str) -> Iterator[Writer]:
    """Holds the lock of a serving folder, after waiting for others to end.

    Makes the folder where it is missing. Object stores other than S3 have no lock.

    Raises:
      UserError: The disk is full, or the folder cannot be written to, here or in the block.
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
        with (Path(base) / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Left by a process that was killed: with the lock held, no other is writing.
            for stale in Path(base).glob(f"{_STAGING}*/"):
                shutil.rmtree(stale)
            for stale in Path(base).glob(f"{_STAGED_LOG}*"):
                stale.unlink()
            yield Writer(base)
    except OSError as error:
        if error.errno not in _USERS_ERRORS:
            raise
        raise UserError(
            f"the model cannot be pushed to {base}: {error.strerror}. Production keeps what it "
            "has; make room or give another --output, then run again"
        ) from error


def _publish(staging: Path, target: Path) -> None:
    staging.rename(target)
    files.sync_folder(target.parent)


def _remove_remote(target: str) -> None:
    """Removes what a push that broke off has written, as far as the store allows it."""
    with contextlib.suppress(Exception):  # a store that refused a file may refuse this, too
        files.remove(f"{target}/{MODEL_FILE}")
        for name in sorted(files.files_below(target)):
            files.remove(f"{target}/{name}")


def _copy_local(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.open_file(source) as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK_BYTES):
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
