"""How far the work of a stage is, told by those who do it to whoever watches.

An executor calls `report`; a terminal listens with `listening`. Where nobody listens in the
same process (a Beam worker elsewhere, Kubeflow), a report costs nothing and goes nowhere.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int | None], None]

_lock = threading.Lock()
_listeners: list[Listener] = []


def report(activity: str, done: int, total: int | None = None) -> None:
    """Tells every listener that `done` of `total` units of `activity` are finished.

    Args:
      activity: What is being done, in a few words ("epochs", "tracks examined").
      done: Finished units.
      total: All units, or None where that is not known.
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
