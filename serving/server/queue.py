"""Holds requests, up to a bound, and runs those together that cannot change each other's answers.

It waits for nobody: a batch is what had arrived when the model became free. Where a shared run
fails, each of its requests is run by itself, so that one bad request never fails another's.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np

from serving.server.check import Call
from serving.server.errors import ServingError, from_call, from_run
from serving.server.metrics import Metrics

Outputs = dict[str, np.ndarray]
_Result = TypeVar("_Result")
_MOST_BATCH_BYTES = 64 * 1024 * 1024  # of inputs that are copied into one array


@dataclasses.dataclass(eq=False)
class _Waiting:
    call: Call
    key: Hashable
    answer: "asyncio.Future[Outputs | ServingError]"  # errors as values: see `in_thread`
    arrival: float


class Queue:
    """The queue of one server, in one event loop; the model runs in a thread."""

    def __init__(self, length: int, max_rows: int, metrics: Metrics) -> None:
        """Starts the task that runs batches.

        Args:
          length: Most requests that are held.
          max_rows: Most examples in one run.
          metrics: Hears of every run.
        """
        self._length = length
        self._max_rows = max_rows
        self._metrics = metrics
        self._held = 0
        self._closed = False
        self._waiting: list[_Waiting] = []  # in the order of arrival
        self._arrived = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "model")
        self._working = asyncio.create_task(self._work())
        metrics.requests_held.set_function(lambda: self._held)
        metrics.queue_length.set_function(lambda: len(self._waiting))

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds room for a request, from before it is read until it is answered.

        Raises:
          ServingError: UNAVAILABLE: there is no room, or the server stops.
        """
        if self._closed:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        if self._held >= self._length:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                f"the queue is full: {self._held} requests are held (--queue-length)",
            )
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def run(self, call: Call) -> Outputs:
        """Runs a call, together with others where that changes no answer.

        A caller that is cancelled leaves the queue; what already runs goes on.

        Raises:
          ServingError: What the model refuses.
        """
        answering = asyncio.get_running_loop().create_future()
        waiting = _Waiting(call, call.shared_key(), answering, time.monotonic())
        self._waiting.append(waiting)
        self._arrived.set()
        try:
            answer = await answering
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        if isinstance(answer, ServingError):
            raise ServingError(answer.code, answer.text)
        return answer

    def close(self) -> None:
        """Refuses new requests; those that are held are answered."""
        self._closed = True

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._run(self._take_batch())

    def _take_batch(self) -> list[_Waiting]:
        """Takes the oldest request and those that can share its run."""
        batch: list[_Waiting] = []
        rows = size = 0
        for waiting in self._waiting:
            if batch and waiting.key != batch[0].key:
                continue
            rows += waiting.call.rows
            size += waiting.call.input_bytes
            if batch and (rows > self._max_rows or size > _MOST_BATCH_BYTES):
                break
            batch.append(waiting)
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        return batch

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        calls = [waiting.call for waiting in batch]
        start = time.monotonic()
        for waiting in batch:
            self._metrics.queue_seconds.observe(start - waiting.arrival)
        run = asyncio.get_running_loop().run_in_executor
        answers = await run(self._thread, _run_together, calls)
        if len(batch) > 1 and isinstance(answers[0], ServingError):
            answers = [(await run(self._thread, _run_together, [call]))[0] for call in calls]
        self._metrics.run_seconds.observe(time.monotonic() - start)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():  # its caller is still there
                waiting.answer.set_result(answer)


async def in_thread(
    thread: concurrent.futures.Executor,
    work: Callable[..., _Result],
    *arguments: Any,
) -> _Result:
    """Does work in a thread. Who is cancelled waits until it has ended, and so keeps its slot.

    An error comes back as a value and is raised anew: its own traceback would keep the request
    until the garbage collector comes.
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(thread, functools.partial(_outcome, work, *arguments))
    try:
        result = await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
    if isinstance(result, ServingError):
        raise ServingError(result.code, result.text)
    return result


def _outcome(work: Callable[..., _Result], *arguments: Any) -> _Result | ServingError:
    try:
        return work(*arguments)
    except Exception as error:
        return from_call(error)


def _run_together(calls: Sequence[Call]) -> list[Outputs | ServingError]:
    """Each call's own rows of the outputs of one run; where the run failed, one error."""
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
