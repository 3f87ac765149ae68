"""One budget of bytes for everything that callers send and the server has not answered yet."""

import asyncio
import collections
import threading

import grpc

from serving.server.status import ServingError


class Lease:
    """A call's share of the budget, given back when its last user is done.

    The protocol that reads a request uses it, and so does the run of the model, which may go on
    after the caller has hung up.
    """

    def __init__(self, budget: "ByteBudget", size: int) -> None:
        self._budget = budget
        self._users = 1
        self.size = size
        self.reading = True

    def resize(self, size: int) -> None:
        """Sets what the call takes once its request has been read.

        Raises:
          ServingError: RESOURCE_EXHAUSTED where that is more than is left.
        """
        self._budget.resize(self, size)

    def keep(self) -> None:
        """Adds a user to one that there is. Safe to call from any thread."""
        self._budget.keep(self)

    def release(self) -> None:
        """Ends one use. Safe to call from any thread."""
        self._budget.release(self)

    def add_use(self) -> None:
        """Adds a user. For the budget only."""
        assert self._users, "a lease that was given back has no share to keep"
        self._users += 1

    def end_use(self) -> bool:
        """Takes a user away; returns whether it was the last. For the budget only."""
        self._users -= 1
        return self._users == 0


class ByteBudget:
    """Bytes that may be in flight, for all protocols, models and callers together.

    How large a request is shows only when it has been read. So a call takes room for the largest
    message before the server reads any of it, and afterwards keeps what its inputs need.
    """

    def __init__(self, total_bytes: int, *, message_bytes: int) -> None:
        """An empty budget; must be made in the thread of the event loop that `read_lease` runs in.

        Args:
          total_bytes: Most bytes in flight; at least one message is let in, whatever its size.
          message_bytes: Largest request.
        """
        self._total = max(total_bytes, message_bytes)
        self._message = message_bytes
        self._lock = threading.Lock()
        self._reading = 0  # taken by requests that are being read
        self._held = 0  # taken by requests that have been read
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    @property
    def used_bytes(self) -> int:
        """Bytes that are taken."""
        return self._reading + self._held

    async def read_lease(self, timeout_seconds: float) -> Lease:
        """Takes room for a request that is about to be read.

        Waits while other requests are being read, which passes soon, but not for the model.

        Raises:
          ServingError: RESOURCE_EXHAUSTED where requests that wait for the model leave no room, or
            none came free in time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        while True:
            with self._lock:
                if self._held + self._message > self._total:
                    raise self._full()
                if self.used_bytes + self._message <= self._total:
                    self._reading += self._message
                    return Lease(self, self._message)
                turn = loop.create_future()
                self._waiting.append(turn)
            try:
                await asyncio.wait_for(turn, end - loop.time())
            except asyncio.TimeoutError:
                self._wake(1)  # it may have been this one's turn, just too late
                raise self._full() from None
            except asyncio.CancelledError:
                self._wake(1)
                raise

    def resize(self, lease: Lease, size: int) -> None:
        """Sets what `lease` takes; see `Lease.resize`."""
        with self._lock:
            others = self.used_bytes - lease.size
            if size > lease.size and others + size > self._total:
                raise self._full()
            self._take(lease, -lease.size)
            lease.size, lease.reading = size, False
            self._take(lease, size)
        self._wake(len(self._waiting))

    def keep(self, lease: Lease) -> None:
        """Adds a user of `lease`; see `Lease.keep`."""
        with self._lock:
            lease.add_use()

    def release(self, lease: Lease) -> None:
        """Ends a use of `lease`; see `Lease.release`."""
        with self._lock:
            if not lease.end_use():
                return
            self._take(lease, -lease.size)
        self._wake(len(self._waiting))

    def _take(self, lease: Lease, size: int) -> None:
        if lease.reading:
            self._reading += size
        else:
            self._held += size

    def _wake(self, count: int) -> None:
        """Lets waiting calls look again. They wait in the event loop, this may be any thread."""
        with self._lock:
            turns = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        for turn in turns:
            turn.get_loop().call_soon_threadsafe(_finish, turn)

    def _full(self) -> ServingError:
        return ServingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"the server holds as much as it may: {self.used_bytes} of {self._total} bytes "
            "(--memory-mib); try again later",
        )


def _finish(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)
