"""Progress reports from executors to the runner that shows them.

An executor calls `report`; a runner subscribes with `listening`. Without a listener in the same
process (on a remote Beam worker, on Kubeflow) a report has no effect.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int | None], None]

_lock = threading.Lock()
_listeners: list[Listener] = []


def report(activity: str, done: int, total: int | None = None) -> None:
    """Reports to every listener that `done` of `total` units of `activity` are finished.

    Args:
      activity: What is being done, in a few words ("epochs", "tracks examined").
      done: Finished units.
      total: Number of all units; None if unknown.
    """
    with _lock:
        listeners = tuple(_listeners)
    for listener in listeners:
        listener(activity, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends every report made inside the `with` block to `listener`."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)
