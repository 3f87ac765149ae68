"""Keeps samples in a folder of bounded size: JSON lines in rotating files, and sounds beside them.

samples-20261122T135044-server1-77-0.jsonl
sound-20261122T135044-server1-77-0.wav          only with --sample-sound
"""

import contextlib
import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any

_LINES, _SOUNDS = "samples-*.jsonl", "sound-*.wav"
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
          most_bytes: Most bytes of all lines, and as many of all sounds.

        Raises:
          OSError: The folder cannot be made or written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} may not be written to")
        self._folder = folder
        self._most_bytes = most_bytes
        started = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S")
        self._name = f"{started}-{socket.gethostname()}-{os.getpid()}"
        self._number = self._sounds = 0
        self._prune(_LINES, self._most_bytes - self._most_bytes // _FILES)

    def write(self, fields: dict[str, Any], wav: bytes = b"") -> None:
        """Appends one line with the time, and keeps its sound if there is one.

        Raises:
          OSError: The disk does not take it.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        if wav and len(wav) <= self._most_bytes:
            fields = {**fields, "sound": self._write_sound(wav)}
        text = json.dumps({"time": now, **fields}, ensure_ascii=False)
        line = f"{text}\n".encode(errors="backslashreplace")
        path = self._path()
        if path.exists() and path.stat().st_size + len(line) > self._most_bytes // _FILES:
            self._number += 1
            path = self._path()
            self._prune(_LINES, self._most_bytes - self._most_bytes // _FILES)
        with path.open("ab") as file:
            file.write(line)

    def _path(self) -> Path:
        return self._folder / f"samples-{self._name}-{self._number}.jsonl"

    def _write_sound(self, wav: bytes) -> str:
        self._prune(_SOUNDS, self._most_bytes - len(wav))
        path = self._folder / f"sound-{self._name}-{self._sounds}.wav"
        self._sounds += 1
        try:
            path.write_bytes(wav)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()  # a part of a sound is none
            raise
        return path.name

    def _prune(self, pattern: str, most_bytes: int) -> None:
        """Removes the oldest files until the others take at most so many bytes."""
        found = []
        for path in self._folder.glob(pattern):
            with contextlib.suppress(OSError):  # another server removed it
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        total = sum(size for _, _, size in found)
        for _, path, size in sorted(found):
            if total <= most_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
