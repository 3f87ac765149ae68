"""How a signal ends a run."""

import signal


class Interruption:
    """Makes SIGTERM and Ctrl-C end what runs inside its `with` block, in this thread.

    A signal raises `KeyboardInterrupt`. It is also remembered, as a library may wrap the exception
    in its own, or lose it in a callback. Signals that arrive while the run ends are ignored.
    """

    def __init__(self) -> None:
        self.requested = False
        self._ignoring = False
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is behind nohup
            numbers.append(signal.SIGINT)
        self._handlers = {number: signal.signal(number, self._interrupt) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        self._ignoring = True
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if a signal came, until `ignore` is called."""
        if self.requested and not self._ignoring:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Lets no signal have an effect from now on: the run has its outcome."""
        self._ignoring = True

    def _interrupt(self, *_: object) -> None:
        self.requested = True
        self.check()
