"""A lock in an S3 bucket: one object that is written conditionally and expires unless renewed.

Its holder writes it again every third of the lease. Others look at it: an object that stays the
same for a whole lease belongs to a process that died, and is taken over. Each process measures time
with its own clock, so that clocks need not agree.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from absl import logging

from components.common.errors import UserError

LEASE_SECONDS = 60.0

# Another process has written the object, is writing it, or has just removed it.
_TAKEN = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404")


class Lease:
    """A lock that this process holds, for as long as it can renew it."""

    def __init__(self, uri: str, seconds: float) -> None:
        import boto3

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._uri = uri
        self._object = {"Bucket": bucket, "Key": key}
        self._seconds = seconds
        self._client = boto3.client("s3")
        self._etag = ""
        self._renewed = 0.0
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="push-lease", daemon=True)

    def require(self) -> None:
        """Checks that no other process can have taken the lock over; before each write that counts.

        Raises:
          UserError: It could not be renewed in time, or was taken over.
        """
        if self._ended.is_set() or time.monotonic() - self._renewed >= self._seconds:
            raise UserError(
                f"{self._uri} could not be renewed for {self._seconds:g} s: another push may go "
                "on. Production keeps what it has; run again"
            )

    def acquire(self) -> None:
        """Waits until the lock is free, or its holder has been silent for a whole lease."""
        seen, since = "", time.monotonic()
        while not self._write(IfNoneMatch="*"):
            etag, _ = self._read()
            if etag != seen:
                seen, since = etag, time.monotonic()
            elif etag and time.monotonic() - since > self._seconds and self._write(IfMatch=etag):
                logging.warning("%s was left by a push that broke off; it is taken over", self._uri)
                break
            time.sleep(min(1.0, self._seconds / 10))
        self._renewer.start()

    def release(self) -> None:
        """Removes the lock, unless it may be another process's by now."""
        lost = self._ended.is_set() or time.monotonic() - self._renewed >= self._seconds / 2
        self._ended.set()
        self._renewer.join()
        if not lost:
            self._client.delete_object(**self._object)

    def _renew(self) -> None:
        from botocore import exceptions

        while not self._ended.wait(self._seconds / 3):
            # A store that does not answer is asked again; `require` looks at the time.
            with contextlib.suppress(exceptions.BotoCoreError, exceptions.ClientError):
                if not self._write(IfMatch=self._etag):
                    self._ended.set()

    def _write(self, **condition: str) -> bool:
        """Writes the object if the condition holds; whether it is this process's now."""
        from botocore import exceptions

        started, content = time.monotonic(), uuid.uuid4().hex.encode()
        try:
            etag = self._client.put_object(**self._object, Body=content, **condition)["ETag"]
        except exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code", "") not in _TAKEN:
                raise
            # A request whose answer was lost is sent again, and then meets its own object.
            etag, there = self._read()
            if there != content:
                return False
        self._etag, self._renewed = etag, started
        return True

    def _read(self) -> tuple[str, bytes]:
        from botocore import exceptions

        try:
            answer: dict[str, Any] = self._client.get_object(**self._object)
            return answer["ETag"], answer["Body"].read()
        except exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code", "") not in _TAKEN:
                raise
            return "", b""


@contextlib.contextmanager
def held(uri: str, *, seconds: float = LEASE_SECONDS) -> Iterator[Lease]:
    """Holds a lock in a bucket, after waiting for others to end.

    Args:
      uri: The lock's object: `s3://bucket/key`. The store must know conditional writes
        (`If-None-Match`, `If-Match`), as S3 and MinIO do.
      seconds: How long the lock outlives a holder that died.

    Yields:
      The lock, which says whether it is still held.

    Raises:
      UserError: The store refuses the object.
    """
    from botocore import exceptions

    lease = Lease(uri, seconds)
    try:
        lease.acquire()
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        raise UserError(f"could not take the lock {uri}: {error}") from error
    try:
        yield lease
    finally:
        with contextlib.suppress(exceptions.BotoCoreError, exceptions.ClientError):
            lease.release()
