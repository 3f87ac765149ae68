"""Keeps samples in a folder of bounded size: JSON lines in rotating files."""

import contextlib
import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any

# Of `_name` and a number: other files in the folder are not the server's to remove.
_PATTERN = "samples-[0-9]*T[0-9]*-*-[0-9]*-[0-9]*.jsonl"
_FILES = 8  # a bound is shared by so many files, so that the oldest eighth is dropped at a time


class SampleFiles:
    """Writes into the folder, and removes its oldest files where they would exceed the bound.

    Several servers may share a folder and its bound; each holds one more unfinished file of an
    eighth of the bound at most.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Makes the folder.

        Args:
          folder: Where to write.
          most_bytes: Most bytes of all lines.

        Raises:
          OSError: The folder cannot be made or written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} may not be written to")
        self._folder = folder
        self._file_bytes = most_bytes // _FILES
        started = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S")
        self._name = f"samples-{started}-{socket.gethostname()}-{os.getpid()}"
        self._number = 0
        self._prune()

    def write(self, fields: dict[str, Any]) -> None:
        """Appends one line with the time.

        Raises:
          OSError: The disk does not take it.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        text = json.dumps({"time": now, **fields}, ensure_ascii=False)
        line = f"{text}\n".encode(errors="backslashreplace")
        path = self._folder / f"{self._name}-{self._number}.jsonl"
        if path.exists() and path.stat().st_size + len(line) > self._file_bytes:
            self._number += 1
            path = self._folder / f"{self._name}-{self._number}.jsonl"
            self._prune()
        with path.open("ab") as file:
            file.write(line)

    def _prune(self) -> None:
        """Removes the oldest files until there is room for another one."""
        files = []
        for path in self._folder.glob(_PATTERN):
            with contextlib.suppress(OSError):  # another server removed it
                status = path.stat()
                files.append((status.st_mtime_ns, path, status.st_size))
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total <= (_FILES - 1) * self._file_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
