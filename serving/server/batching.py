"""Runs requests of many callers together, in a queue with bounds.

Requests share a run of the model only where that cannot change an answer: same version,
signature and outputs, equal sizes past the batch dimension and, where the length of a string
shapes the output (WAV files), strings of equal length and header. Where a shared run fails, each
of its requests is run alone, so that one bad request never fails another's.
"""

import collections
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Hashable, Sequence
from typing import Protocol

import grpc
import numpy as np

from serving.server.prediction import Call, Outputs
from serving.server.settings import BatchingSettings
from serving.server.status import ServingError, from_exception

_HEADER_BYTES = 44  # a WAV file's: rate, channels and sample format


class Observer(Protocol):
    """What is told of every run (see `metrics.Metrics`)."""

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        """A run of `rows` examples of `requests` requests took `seconds`."""


@dataclasses.dataclass(eq=False)
class _Job:
    call: Call
    key: Hashable
    deadline: float | None
    enqueued: float
    size_bytes: int
    future: concurrent.futures.Future[Outputs]
    started: float = 0.0


@dataclasses.dataclass(frozen=True)
class Ticket:
    """A request in the queue: the future of its outputs, and how long it waited."""

    future: concurrent.futures.Future[Outputs]
    _job: _Job

    @property
    def queue_seconds(self) -> float:
        """Seconds between its arrival and the start of its run (0 if it never started)."""
        return max(0.0, self._job.started - self._job.enqueued) if self._job.started else 0.0


def _shared_key(call: Call) -> Hashable:
    """What requests must have in common to share a run; unique where this one must not."""
    if not call.signature.batchable or call.rows == 0:
        return object()
    parts: list[Hashable] = []
    for name in sorted(call.inputs):
        array = call.inputs[name]
        parts.append(array.shape[1:])
        if array.dtype == object and call.signature.ragged:
            kinds = {(len(item), item[:_HEADER_BYTES]) for item in array.ravel()}
            parts.append(kinds.pop() if len(kinds) == 1 else object())
    return call.version, call.signature.name, call.outputs, tuple(parts)


class BatchQueue:
    """The queue and the threads that run it."""

    def __init__(self, settings: BatchingSettings, observer: Observer) -> None:
        """Starts the threads; `close` ends them."""
        self._settings = settings
        self._observer = observer
        self._ready = threading.Condition()
        self._jobs: dict[Hashable, collections.deque[_Job]] = {}
        self._length = 0
        self._bytes = 0
        self._closed = False
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

    def submit(self, call: Call, *, timeout_seconds: float | None) -> Ticket:
        """Puts a request into the queue.

        The caller keeps `call.version` acquired until the future is done. Cancelling the future
        takes the request out of the queue.

        Args:
          call: The checked request.
          timeout_seconds: How long its caller will wait; it is not run after that.

        Raises:
          ServingError: The queue is full (RESOURCE_EXHAUSTED) or closed (UNAVAILABLE).
        """
        now = time.monotonic()
        deadline = None if timeout_seconds is None else now + timeout_seconds
        future: concurrent.futures.Future[Outputs] = concurrent.futures.Future()
        job = _Job(call, _shared_key(call), deadline, now, call.input_bytes, future)
        with self._ready:
            if self._closed:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down")
            settings = self._settings
            full = self._length >= settings.queue_length
            if full or (self._length and self._bytes + job.size_bytes > settings.queue_bytes):
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "The batch scheduling queue to which this task was submitted is full: "
                    f"{self._length} requests, {self._bytes} bytes",
                )
            self._jobs.setdefault(job.key, collections.deque()).append(job)
            self._length += 1
            self._bytes += job.size_bytes
            self._ready.notify()
        future.add_done_callback(lambda done: self._forget(job) if done.cancelled() else None)
        return Ticket(future, job)

    def close(self) -> None:
        """Refuses new requests, runs those that wait, and ends the threads."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _forget(self, job: _Job) -> None:
        with self._ready:
            queue = self._jobs.get(job.key)
            if queue is not None and job in queue:
                queue.remove(job)
                self._count_out(job, queue)

    def _count_out(self, job: _Job, queue: collections.deque[_Job]) -> None:
        self._length -= 1
        self._bytes -= job.size_bytes
        if not queue:
            self._jobs.pop(job.key, None)

    def _work(self) -> None:
        while (jobs := self._next_batch()) is not None:
            runnable = [job for job in jobs if self._start(job)]
            if runnable:
                self._run(runnable)
            # Nothing may keep a version or a request's inputs alive while the queue is empty.
            del jobs, runnable

    def _start(self, job: _Job) -> bool:
        job.started = time.monotonic()
        if not job.future.set_running_or_notify_cancel():
            return False
        if job.deadline is not None and job.started >= job.deadline:
            job.future.set_exception(
                ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded in the queue")
            )
            return False
        return True

    def _next_batch(self) -> list[_Job] | None:
        """Waits for a batch: full, or old enough, the one whose oldest request is oldest first."""
        with self._ready:
            while True:
                now, wait = time.monotonic(), None
                for queue in sorted(self._jobs.values(), key=lambda jobs: jobs[0].enqueued):
                    left = queue[0].enqueued + self._settings.batch_timeout_seconds - now
                    rows = sum(job.call.rows for job in queue)
                    if left <= 0 or rows >= self._settings.max_batch_size or self._closed:
                        return self._take(queue)
                    wait = left if wait is None else min(wait, left)
                if self._closed:
                    return None
                self._ready.wait(wait)

    def _take(self, queue: collections.deque[_Job]) -> list[_Job]:
        jobs: list[_Job] = []
        rows = 0
        while queue and (not jobs or rows + queue[0].call.rows <= self._settings.max_batch_size):
            job = queue.popleft()
            rows += job.call.rows
            jobs.append(job)
            self._count_out(job, queue)
        return jobs

    def _run(self, jobs: Sequence[_Job]) -> None:
        try:
            answers = self._run_together([job.call for job in jobs])
        except Exception as error:  # whatever the graph raises belongs to its callers
            if len(jobs) > 1:
                for job in jobs:
                    self._run([job])
            else:
                jobs[0].future.set_exception(from_exception(error))
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)

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
