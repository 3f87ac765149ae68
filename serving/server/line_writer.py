"""Writes lines in the background, so that a full disk or a blocked pipe stops nobody."""

import contextlib
import logging
import os
import queue
import threading

_MOST_LINES = 10_000
_MOST_BYTES = 8 << 20


class LineWriter:
    """Writes lines to a file descriptor in a thread of its own.

    Attributes:
      lost: Lines that were not written: the descriptor did not take them, or not soon enough.
    """

    def __init__(self, descriptor: int) -> None:
        """Starts the thread. The descriptor stays the caller's to close."""
        self.lost = 0
        self._descriptor = descriptor
        self._bytes = 0  # of the lines that wait
        self._counting = threading.Lock()
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_LINES)
        self._thread = threading.Thread(target=self._work, name="lines", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Hands over a line, without its end. Never waits, never fails."""
        line = text.encode(errors="backslashreplace") + b"\n"
        with self._counting:
            if self._bytes + len(line) > _MOST_BYTES:
                self.lost += 1
                return
            self._bytes += len(line)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._count_out(line)
            self.lost += 1

    def close(self, timeout_seconds: float) -> bool:
        """Waits for the lines that are left. Returns whether all of them came out in time."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=timeout_seconds)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            self._count_out(line)
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                self.lost += 1

    def _count_out(self, line: bytes) -> None:
        with self._counting:
            self._bytes -= len(line)


class LineHandler(logging.Handler):
    """Sends log records to a LineWriter."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Formats and hands over one record."""
        try:
            self._writer.write(self.format(record))
        except Exception:
            self.handleError(record)
