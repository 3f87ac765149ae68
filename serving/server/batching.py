"""Runs requests of many callers together, in a queue with bounds.

Requests share a run of the model only where that cannot change an answer: same version,
signature and outputs, equal sizes past the batch dimension and, where the length of a string
shapes the output (WAV files), strings of equal length and header. Where a shared run fails, each
of its requests is run alone, so that one bad request never fails another's.
"""

import collections
import concurrent.futures
import threading
import time
from collections.abc import Hashable, Sequence
from typing import Protocol

import grpc
import numpy as np

from serving.server.calls import Call, Outputs
from serving.server.settings import BatchingSettings
from serving.server.status import ServingError, from_exception


class Observer(Protocol):
    """What is told of every run (see `metrics.Metrics`)."""

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        """A run of `rows` examples of `requests` requests took `seconds`."""


class Ticket(concurrent.futures.Future[Outputs]):
    """The future of a request's outputs, which is also its place in the queue.

    It holds nothing that holds it, so a request is freed when its last reference goes, without
    waiting for the garbage collector.
    """

    def __init__(self, queue: "BatchQueue", call: Call, deadline: float | None) -> None:
        super().__init__()
        self.call: Call | None = call
        self.deadline = deadline
        self.enqueued = time.monotonic()
        self.started = 0.0
        self.shared_key = call.shared_key
        self.rows = call.rows
        self.input_bytes = call.input_bytes
        self._queue = queue

    def cancel(self) -> bool:
        """Cancels the request where it has not started, and takes it out of the queue."""
        cancelled = super().cancel()
        if cancelled:
            self._queue.forget(self)
        return cancelled

    @property
    def queue_seconds(self) -> float:
        """Seconds between its arrival and the start of its run (0 if it never started)."""
        return max(0.0, self.started - self.enqueued) if self.started else 0.0


class Place:
    """A place in the queue for a request that is still being read."""

    def __init__(self, queue: "BatchQueue") -> None:
        self._queue = queue
        self.taken = True

    def release(self) -> None:
        """Gives it back where no request has taken it. Safe to call again."""
        self._queue.give_back(self)


class BatchQueue:
    """The queue and the threads that run it."""

    def __init__(self, settings: BatchingSettings, observer: Observer) -> None:
        """Starts the threads; `close` ends them."""
        self._settings = settings
        self._observer = observer
        self._ready = threading.Condition()
        self._tickets: dict[Hashable, collections.deque[Ticket]] = {}
        self._length = 0
        self._places = 0  # for requests that are being read
        self._closed = False
        self._hurried = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(settings.batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def length(self) -> int:
        """Requests that wait."""
        return self._length

    def reserve(self) -> Place:
        """Takes a place for a request that is about to be read.

        Reading takes longer than refusing: without a place, a caller would hear only after all of
        its request was sent and parsed that the queue is full.

        Raises:
          ServingError: UNAVAILABLE: the queue is full or closed.
        """
        with self._ready:
            self._check_room()
            self._places += 1
        return Place(self)

    def give_back(self, place: Place) -> None:
        """Ends a place's use; see `Place.release`."""
        with self._ready:
            self._places -= place.taken
            place.taken = False

    def submit(
        self, call: Call, *, timeout_seconds: float | None, place: Place | None = None
    ) -> Ticket:
        """Puts a request into the queue.

        The caller keeps `call.version` acquired until the ticket is done. Cancelling the ticket
        takes the request out of the queue.

        Args:
          call: The checked request.
          timeout_seconds: How long its caller will wait; it is not run after that.
          place: What `reserve` gave for it; the request takes it.

        Raises:
          ServingError: UNAVAILABLE: the queue is full or closed.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        ticket = Ticket(self, call, deadline)
        with self._ready:
            if place is not None:
                self._places -= place.taken
                place.taken = False
            self._check_room()
            self._tickets.setdefault(ticket.shared_key, collections.deque()).append(ticket)
            self._length += 1
            self._ready.notify()
        return ticket

    def hurry(self) -> None:
        """From here on lets no request wait for others to fill its batch."""
        with self._ready:
            self._hurried = True
            self._ready.notify_all()

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Refuses new requests, runs those that wait, and ends the threads.

        Returns:
          Whether they ended within `timeout_seconds`.
        """
        with self._ready:
            self._closed = self._hurried = True
            self._ready.notify_all()
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def forget(self, ticket: Ticket) -> None:
        """Takes a cancelled request out of the queue, and lets go of its inputs."""
        with self._ready:
            queue = self._tickets.get(ticket.shared_key)
            if queue is not None and ticket in queue:
                queue.remove(ticket)
                self._count_out(ticket, queue)
        ticket.call = None

    def _check_room(self) -> None:
        if self._closed:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down")
        held = self._length + self._places
        if held >= self._settings.queue_length:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full: "
                f"{held} requests",
            )

    def _count_out(self, ticket: Ticket, queue: collections.deque[Ticket]) -> None:
        self._length -= 1
        if not queue:
            self._tickets.pop(ticket.shared_key, None)

    def _work(self) -> None:
        while (tickets := self._next_batch()) is not None:
            runnable = [ticket for ticket in tickets if self._start(ticket)]
            if runnable:
                self._run(runnable)
            # Nothing may keep a version or a request's inputs alive while the queue is empty.
            del tickets, runnable

    def _start(self, ticket: Ticket) -> bool:
        ticket.started = time.monotonic()
        if not ticket.set_running_or_notify_cancel():
            return False
        if ticket.deadline is not None and ticket.started >= ticket.deadline:
            ticket.call = None
            ticket.set_exception(
                ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded in the queue")
            )
            return False
        return True

    def _next_batch(self) -> list[Ticket] | None:
        """Waits for a batch: full, or old enough, the one whose oldest request is oldest first."""
        with self._ready:
            while True:
                now, wait = time.monotonic(), None
                for queue in sorted(self._tickets.values(), key=lambda found: found[0].enqueued):
                    left = queue[0].enqueued + self._settings.batch_timeout_seconds - now
                    rows = sum(ticket.rows for ticket in queue)
                    if left <= 0 or rows >= self._settings.max_batch_size or self._hurried:
                        return self._take(queue)
                    wait = left if wait is None else min(wait, left)
                if self._closed:
                    return None
                self._ready.wait(wait)

    def _take(self, queue: collections.deque[Ticket]) -> list[Ticket]:
        tickets: list[Ticket] = []
        rows = size = 0
        while queue:
            rows += queue[0].rows
            size += queue[0].input_bytes
            settings = self._settings
            if tickets and (rows > settings.max_batch_size or size > settings.max_batch_bytes):
                break
            tickets.append(queue.popleft())
            self._count_out(tickets[-1], queue)
        return tickets

    def _run(self, tickets: Sequence[Ticket]) -> None:
        try:
            answers = self._run_together([_call_of(ticket) for ticket in tickets])
        except Exception as error:  # whatever the graph raises belongs to its callers
            if len(tickets) > 1:
                for ticket in tickets:
                    self._run([ticket])
            else:
                tickets[0].call = None
                tickets[0].set_exception(from_exception(error))
            return
        for ticket, answer in zip(tickets, answers, strict=True):
            ticket.call = None
            ticket.set_result(answer)

    def _run_together(self, calls: Sequence[Call]) -> list[Outputs]:
        first = calls[0]
        rows = [call.rows for call in calls]
        inputs = first.inputs
        if len(calls) > 1:
            inputs = {
                name: np.concatenate([call.inputs[name] for call in calls]) for name in inputs
            }
        start = time.monotonic()
        outputs = first.version.run(first.signature, inputs, first.outputs)
        self._observer.observe_batch(
            requests=len(calls), rows=sum(rows), seconds=time.monotonic() - start
        )
        if len(calls) == 1:
            return [outputs]
        if any(len(array) != sum(rows) for array in outputs.values()):
            raise ServingError(
                grpc.StatusCode.INTERNAL, "outputs do not have the inputs' batch dimension"
            )
        ends = np.cumsum(rows)[:-1]
        split = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: split[name][i] for name in outputs} for i in range(len(calls))]


def _call_of(ticket: Ticket) -> Call:
    assert ticket.call is not None, "a request that is neither cancelled nor done has its call"
    return ticket.call
