"""Bounds what waits for work that is done beside the answers: the shadow, the samples."""

import threading


class Backlog:
    """Counts the calls that wait, and the bytes of their inputs; several threads may use it."""

    def __init__(self) -> None:
        """Starts empty."""
        self._lock = threading.Lock()
        self._calls = self._bytes = 0

    def take_room(self, size: int, *, most_calls: int, most_bytes: int) -> bool:
        """Takes room for one more call of `size` bytes; False if that is over either bound."""
        with self._lock:
            if self._calls >= most_calls or self._bytes + size > most_bytes:
                return False
            self._calls += 1
            self._bytes += size
            return True

    def give_room(self, size: int) -> None:
        """Gives back what a call of `size` bytes took."""
        with self._lock:
            self._calls -= 1
            self._bytes -= size
