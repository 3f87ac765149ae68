"""Holds requests, up to a bound, and runs those together that cannot change each other's answers.

All of it happens in the event loop, only a run of the model in a thread. Where a shared run fails,
each of its requests is run by itself, so that one bad request never fails another's.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol

import grpc
import numpy as np

from serving.server.check import Call
from serving.server.errors import ServingError, from_run
from serving.server.settings import BatchingSettings

Outputs = dict[str, np.ndarray]


class Observer(Protocol):
    """Hears of every run (see `metrics.Metrics`)."""

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        """A run of `rows` examples of `requests` requests took `seconds`."""

    def observe_queue(self, seconds: float) -> None:
        """A request waited so long for its run."""


@dataclasses.dataclass(eq=False)
class _Waiting:
    """A request that waits for its run."""

    call: Call
    answer: "asyncio.Future[Outputs | ServingError]"  # errors as values: see `run`
    arrival: float


class BatchQueue:
    """The queue; everything but the model's runs happens in the event loop that it is made in."""

    def __init__(self, settings: BatchingSettings, observer: Observer) -> None:
        """Starts the tasks that run batches; `close` ends them."""
        self._settings = settings
        self._observer = observer
        self._waiting: dict[Hashable, collections.deque[_Waiting]] = {}
        self._held = 0
        self._closed = False
        self._changed = asyncio.Event()
        self._threads = concurrent.futures.ThreadPoolExecutor(settings.batch_threads, "batch")
        self._tasks = [asyncio.create_task(self._work()) for _ in range(settings.batch_threads)]

    @property
    def length(self) -> int:
        """Requests that wait for their run."""
        return sum(map(len, self._waiting.values()))

    @property
    def held(self) -> int:
        """Requests that are held: being read, waiting, running or being answered."""
        return self._held

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Holds room for a request, from before it is read until it is answered.

        Raises:
          ServingError: UNAVAILABLE: there is no room, or the server stops.
        """
        if self._closed:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        if self._held >= self._settings.queue_length:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                f"the queue is full: {self._held} requests are held (--queue-length)",
            )
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._changed.set()

    async def run(self, call: Call, timeout_seconds: float | None) -> Outputs:
        """Runs a call, together with others where that changes no answer.

        The caller keeps `call.version` in use meanwhile. A caller that is cancelled or out of time
        leaves the queue; what already runs goes on.

        Raises:
          ServingError: DEADLINE_EXCEEDED, or what the model refuses.
        """
        waiting = _Waiting(call, asyncio.get_running_loop().create_future(), time.monotonic())
        key = call.shared_key()
        self._waiting.setdefault(key, collections.deque()).append(waiting)
        self._changed.set()
        try:
            answer = await asyncio.wait_for(waiting.answer, timeout_seconds)
        except asyncio.TimeoutError:
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed") from None
        finally:
            if waiting in self._waiting.get(key, ()):
                self._waiting[key].remove(waiting)
                self._forget_empty(key)
        if isinstance(answer, ServingError):
            # A new one: raised here, `answer` would be in its own traceback, and the cycle would
            # keep the request's inputs until the garbage collector comes.
            raise ServingError(answer.code, answer.text)
        return answer

    async def close(self) -> None:
        """Refuses new requests, and returns when those that are held are answered."""
        self._closed = True
        self._changed.set()
        while self._held:
            self._changed.clear()
            await self._changed.wait()
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False)

    def _forget_empty(self, key: Hashable) -> None:
        if not self._waiting[key]:
            del self._waiting[key]

    async def _work(self) -> None:
        while True:
            await self._run(await self._next_batch())

    async def _next_batch(self) -> list[_Waiting]:
        """Waits for a batch that is full or old enough; the one that waits longest goes first."""
        while True:
            now, wait = time.monotonic(), None
            for key, queue in sorted(self._waiting.items(), key=lambda item: item[1][0].arrival):
                left = queue[0].arrival + self._settings.batch_timeout_seconds - now
                rows = sum(waiting.call.rows for waiting in queue)
                if left <= 0 or rows >= self._settings.max_batch_size or self._closed:
                    return self._take(key)
                wait = left if wait is None else min(wait, left)
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    def _take(self, key: Hashable) -> list[_Waiting]:
        queue = self._waiting[key]
        batch = [queue.popleft()]
        rows, size = batch[0].call.rows, batch[0].call.input_bytes
        while queue:
            rows += queue[0].call.rows
            size += queue[0].call.input_bytes
            if rows > self._settings.max_batch_size or size > self._settings.max_batch_bytes:
                break
            batch.append(queue.popleft())
        self._forget_empty(key)
        return batch

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        calls = [waiting.call for waiting in batch]
        start = time.monotonic()
        for waiting in batch:
            self._observer.observe_queue(start - waiting.arrival)
        run = asyncio.get_running_loop().run_in_executor
        with calls[0].version.use():  # its callers may hang up meanwhile
            answers = await run(self._threads, run_together, calls)
            if len(batch) > 1 and isinstance(answers[0], ServingError):
                answers = [(await run(self._threads, run_together, [call]))[0] for call in calls]
        self._observer.observe_batch(
            requests=len(calls),
            rows=sum(call.rows for call in calls),
            seconds=time.monotonic() - start,
        )
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():  # its caller is still there
                waiting.answer.set_result(answer)


def run_together(calls: Sequence[Call]) -> list[Outputs | ServingError]:
    """Runs calls of one signature as one.

    Returns:
      Each call's own rows of the outputs; where the run failed, one error.
    """
    try:
        return list(_run_rows(calls))
    except Exception as error:  # whatever a graph raises belongs to its callers
        return [from_run(error, calls[0].inputs)]


def _run_rows(calls: Sequence[Call]) -> list[Outputs]:
    first = calls[0]
    inputs = first.inputs
    if len(calls) > 1:
        inputs = {name: np.concatenate([call.inputs[name] for call in calls]) for name in inputs}
    outputs = first.version.run(first.signature, inputs, first.outputs)
    if len(calls) == 1:
        return [outputs]
    ends = np.cumsum([call.rows for call in calls])
    if any(len(array) != ends[-1] for array in outputs.values()):
        raise ServingError(
            grpc.StatusCode.INTERNAL, "outputs do not have the inputs' batch dimension"
        )
    split = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: split[name][index] for name in outputs} for index in range(len(calls))]
