"""Writes one version into a serving folder, whole or not at all, under the folder's lock.

On a local disk a version is written beside the others under a hidden name, and renamed once it is
whole; two processes never write at the same time. Object stores cannot rename a folder: there
`saved_model.pb`, without which no server loads a version, comes last, and what an error leaves is
removed. On S3 the lock is a lease (`push_lease`).
"""

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.common import files, push_lease, release_log
from components.common.errors import UserError
from components.common.release_log import Staged
from components.common.release_reading import MODEL_FILE, RELEASE_FILE, checksums
from components.common.storage import is_remote

_STAGING_PREFIX = ".push-"
_LOCK_FILE = ".push.lock"
_BLOCK_BYTES = 1 << 20
_USERS_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def alone(base: str) -> Iterator[Callable[[], None]]:
    """Holds the lock of a serving folder, after waiting for others to end.

    Makes the folder where it is missing. Object stores other than S3 have no lock.

    Yields:
      A function that raises a UserError if the lock may be another process's by now.

    Raises:
      UserError: The disk is full, or the folder cannot be written to, here or in the block.
    """
    try:
        if base.startswith("s3://"):
            with push_lease.held(f"{base}/{_LOCK_FILE}") as lease:
                yield lease.require
            return
        if is_remote(base):
            yield _still_locked
            return
        Path(base).mkdir(parents=True, exist_ok=True)
        with (Path(base) / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Left by a process that was killed: with the lock held, no other is writing.
            for stale in Path(base).glob(f"{_STAGING_PREFIX}*/"):
                shutil.rmtree(stale)
            release_log.remove_stale(base)
            yield _still_locked
    except OSError as error:
        if error.errno not in _USERS_ERRORS:
            raise
        raise UserError(
            f"the model cannot be pushed to {base}: {error.strerror}. Production keeps what it "
            "has; make room or give another --output, then run again"
        ) from error


def _still_locked() -> None:
    """A local lock lasts as long as its process."""


def write_version(
    sources: Mapping[str, str],
    base: str,
    version: int,
    *,
    required: Mapping[str, str],
    release: str,
    log: release_log.Log,
    require_lock: Callable[[], None],
) -> None:
    """Writes a version and then the log.

    Args:
      sources: Path of every file by its path in the version.
      base: The serving folder; its lock is held.
      version: The version's number.
      required: SHA-256 of every file by its path in the version.
      release: Content of `release.json`.
      log: The log as it is with this version in it.
      require_lock: What `alone` yielded.

    Raises:
      UserError: The lock was lost meanwhile.
      RuntimeError: The copy differs from what was to be copied.
    """
    if is_remote(base):
        _write_remote(sources, base, version, required, release, log, require_lock)
    else:
        _write_local(sources, base, version, required, release, log)


def _write_local(
    sources: Mapping[str, str],
    base: str,
    version: int,
    required: Mapping[str, str],
    release: str,
    log: release_log.Log,
) -> None:
    staging = Path(base) / f"{_STAGING_PREFIX}{version}-{uuid.uuid4().hex[:8]}"
    staged_log = None
    try:
        for name, source in sources.items():
            _copy_local(source, staging / name)
        files.write_synced(staging / RELEASE_FILE, release.encode())
        if checksums(str(staging)) != required:
            raise RuntimeError(f"the copy of the model in {staging} is not what was copied")
        # From here on nothing needs room: both steps are renames.
        staged_log = Staged(base, log)
        _publish(staging, Path(base) / str(version))
        staged_log.commit()
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if staged_log is not None:
            staged_log.discard()
        raise


def _publish(staging: Path, target: Path) -> None:
    staging.rename(target)
    files.sync_folder(target.parent)


def _write_remote(
    sources: Mapping[str, str],
    base: str,
    version: int,
    required: Mapping[str, str],
    release: str,
    log: release_log.Log,
    require_lock: Callable[[], None],
) -> None:
    target = f"{base}/{version}"
    try:
        for name in (name for name in sources if name != MODEL_FILE):
            files.copy(sources[name], f"{target}/{name}")
        with files.open_file(f"{target}/{RELEASE_FILE}", "w") as file:
            file.write(release)
        copied = checksums(target)
        require_lock()
        # Last: until it is there, no server loads the version.
        files.copy(sources[MODEL_FILE], f"{target}/{MODEL_FILE}")
        copied[MODEL_FILE] = files.sha256(f"{target}/{MODEL_FILE}")
        if copied != required:
            raise RuntimeError(f"the copy of the model in {target} is not what was copied")
    except BaseException as error:
        _remove_remote(target)
        if not isinstance(error, _store_errors()):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"the model cannot be pushed to {base}: {reason}. "
            "Production keeps what it has; run again once the store takes it"
        ) from error
    # The version is complete; a log that cannot be written is mended by the next push.
    require_lock()
    Staged(base, log).commit()


def _store_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return OSError, tf.errors.OpError


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
