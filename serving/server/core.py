"""What both protocols do with a call, and how it is counted and logged."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import grpc

from serving.protocol import message
from serving.server import prediction
from serving.server.access_log import AccessLog, CallRecord
from serving.server.batching import BatchQueue, Place
from serving.server.budget import ByteBudget, Lease
from serving.server.calls import Call, Limits
from serving.server.loading import LoadedVersion
from serving.server.metrics import Metrics
from serving.server.registry import Registry
from serving.server.sampling import Sample, Sampler
from serving.server.settings import ServerSettings
from serving.server.shadow import Question, Shadows
from serving.server.status import ServingError, from_exception, invalid, not_found, short

_LOG = logging.getLogger("gatefold.serving")
_SIGNATURES = "signature_def"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_SMALL_BYTES = 64 * 1024  # read or written in the event loop: faster than handing it over
_WORKERS = 2
_MOST_SHOWN = 20  # names in an error


class Prepare(Protocol):
    """One of `prediction.prepare_predict`, `prepare_classify` and `prepare_regress`."""

    def __call__(self, version: LoadedVersion, request: Any, *, limits: Limits) -> Call:
        """Checks the request."""


# Checks a request and gives the call, whose version it has acquired.
Read = Callable[[CallRecord], Call]
_Result = TypeVar("_Result")


class _Job(Generic[_Result]):
    """Work for a thread. The pool keeps cancelled work until its turn comes, so it is emptied."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = [work]

    def __call__(self) -> _Result:
        return self._work.pop()()

    def empty(self) -> None:
        """Lets go of the work, and so of the request that it holds."""
        self._work.clear()


def check_spec(request: Any) -> None:
    """Checks that a request names a model.

    Raises:
      ServingError: INVALID_ARGUMENT, as TF Serving says it.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


@dataclasses.dataclass
class Arrival:
    """What comes with a request, whichever protocol it came by.

    Attributes:
      record: Its line in the access log, to be filled in.
      lease: Its share of the memory budget.
      place: Its place in the queue; None where it needs none.
      timeout_seconds: How long its caller will wait; None for ever.
    """

    record: CallRecord
    lease: Lease
    place: Place | None = None
    timeout_seconds: float | None = None


class Core:
    """Answers requests, whichever way they came."""

    def __init__(
        self,
        registry: Registry,
        queue: BatchQueue,
        metrics: Metrics,
        access_log: AccessLog,
        *,
        settings: ServerSettings,
        shadows: Shadows | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Takes the parts, started by the caller."""
        self.registry = registry
        self.metrics = metrics
        self.settings = settings
        self.limits = Limits(settings.max_message_bytes, settings.batching.max_batch_size)
        self.budget = ByteBudget(settings.memory_bytes, message_bytes=settings.max_message_bytes)
        self._queue = queue
        self._access_log = access_log
        self._sampler = sampler
        self._watchers = [watcher for watcher in (shadows, sampler) if watcher is not None]
        # Requests are read and large answers written here, so that the event loop stays free for
        # others. Few threads: each may hold copies of a message while it works.
        self._workers = concurrent.futures.ThreadPoolExecutor(_WORKERS, "messages")

    @contextlib.contextmanager
    def recorded(self, record: CallRecord) -> Iterator[None]:
        """Counts and logs the call that is answered inside; turns any error into ServingError."""
        start = time.perf_counter()
        try:
            yield
        except asyncio.CancelledError:
            record.status = grpc.StatusCode.CANCELLED.name
            raise
        except Exception as caught:
            error = from_exception(caught)
            if error.code is grpc.StatusCode.INTERNAL and error is not caught:
                _LOG.exception("%s failed", record.method)
            record.status, record.error = error.code.name, error.text
            if error is caught:
                raise
            try:
                raise error from caught
            finally:
                del error  # its traceback holds this frame: a cycle, with the request in it
        finally:
            seconds = time.perf_counter() - start
            record.milliseconds = seconds * 1000
            self.metrics.observe_call(
                protocol=record.protocol,
                method=record.method,
                model=record.model,
                status=record.status,
                seconds=seconds,
            )
            self._access_log.write(record)
            if self._sampler is not None:
                self._sampler.count(record)

    @contextlib.asynccontextmanager
    async def admitted(self, *, queued: bool) -> AsyncIterator[tuple[Lease, Place | None]]:
        """Holds what a request needs before it is read: memory, and a place in the queue.

        Args:
          queued: Whether the request is one for the model.

        Raises:
          ServingError: The queue is full, or there is no memory for it.
        """
        place = self._queue.reserve() if queued else None
        try:
            lease = await self.budget.read_lease(self.settings.read_seconds)
            try:
                yield lease, place
            finally:
                lease.release()
        finally:
            if place is not None:
                place.release()

    async def off_loop(self, size: int, work: Callable[[], _Result]) -> _Result:
        """Does `work` on a message of `size` bytes, in a thread where it is large."""
        if size <= _SMALL_BYTES:
            return work()
        return await self._in_thread(work, _forget)

    async def _in_thread(
        self,
        work: Callable[[], _Result],
        abandon: Callable[["asyncio.Future[_Result]"], None],
    ) -> _Result:
        """Does `work` in a thread.

        A caller that is cancelled takes the work back where no thread has begun it. What has begun
        goes on: `abandon` gets its future before the caller goes.
        """
        job = _Job(work)
        running = self._workers.submit(job)
        result = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if running.cancel():
                job.empty()
            else:
                abandon(result)
            raise
        finally:
            del job, running, result

    def close(self) -> None:
        """Ends the threads."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def acquire(self, request: Any, record: CallRecord) -> LoadedVersion:
        """The version that a request's model_spec names, kept open, and noted in `record`.

        Raises:
          ServingError: There is none.
        """
        check_spec(request)
        version = self.registry.acquire(request.model_spec)
        record.model, record.version = version.model, version.number
        record.signature = short(request.model_spec.signature_name) or prediction.DEFAULT_SIGNATURE
        return version

    async def infer(self, read: Read, arrival: Arrival) -> Any:
        """Reads a request, runs the model and makes the answer.

        Args:
          read: Makes the call of the request, and forgets the request. Runs in a thread: a few
            bytes may stand for as much as the largest message.
          arrival: What came with it.

        Returns:
          What the call's `answer` makes of the model's outputs.

        Raises:
          ServingError: The request is refused, or the model failed.
        """
        ticket = None
        watched: list[Question | Sample] = []
        try:
            call = await self._read(read, arrival)
            try:
                version, rows, make_answer = call.version, call.rows, call.answer
                arrival.record.rows = rows
                arrival.lease.resize(call.input_bytes)
                ticket = self._queue.submit(
                    call, timeout_seconds=arrival.timeout_seconds, place=arrival.place
                )
                for watcher in self._watchers:
                    if (offered := watcher.offer(call)) is not None:
                        watched.append(offered)
            except BaseException:
                call.version.release()
                raise
            finally:
                del call  # from here on the queue alone holds the inputs
            arrival.lease.keep()
            # Not when this coroutine ends: a cancelled call may still be running.
            ticket.add_done_callback(_releasing(version, arrival.lease))
            try:
                outputs = await asyncio.wrap_future(ticket)
            finally:
                arrival.record.queue_milliseconds = ticket.queue_seconds * 1000
            while watched:
                watched.pop().answered(outputs)
            self.metrics.observe_queue(ticket.queue_seconds)
            size = sum(array.nbytes for array in outputs.values())
            return await self.off_loop(size, functools.partial(make_answer, outputs))
        finally:
            while watched:
                watched.pop().forget()
            del ticket  # an error's traceback holds this frame, and the ticket holds the error

    async def _read(self, read: Read, arrival: Arrival) -> Call:
        """Reads the request. A version that a hung-up caller's request acquired is released."""

        def abandon(reading: "asyncio.Future[Call]") -> None:
            arrival.lease.keep()
            reading.add_done_callback(functools.partial(_discard, arrival.lease))

        return await self._in_thread(functools.partial(read, arrival.record), abandon)

    async def multi_inference(self, request: Any, arrival: Arrival) -> Any:
        """Answers a MultiInferenceRequest: each task in turn, on the same examples."""
        if not request.tasks:
            raise invalid("Inference request must contain at least one task.")
        names = {task.model_spec.name for task in request.tasks}
        if len(names) > 1:
            raise invalid(
                f"All ModelSpecs in a MultiInferenceRequest must access the same model: "
                f"{sorted(map(short, names))[:_MOST_SHOWN]}"
            )
        response = message("MultiInferenceResponse")()
        for task in request.tasks:
            if task.method_name not in (_CLASSIFY, _REGRESS):
                raise ServingError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"Unsupported signature method_name: {short(task.method_name)}",
                )
            classifies = task.method_name == _CLASSIFY
            kind = "ClassificationRequest" if classifies else "RegressionRequest"
            single = functools.partial(
                message(kind), model_spec=task.model_spec, input=request.input
            )
            prepare = prediction.prepare_classify if classifies else prediction.prepare_regress
            read = self.reader(prepare, single)  # copied where it is read: in a thread
            answer = await self.infer(read, arrival)
            result = response.results.add(model_spec=answer.model_spec)
            field = result.classification_result if classifies else result.regression_result
            field.CopyFrom(answer.result)
        return response

    def reader(self, prepare: Prepare, take: Callable[[], Any]) -> Read:
        """Makes `infer`'s `read` of a function that gives the request's message once."""

        def read(record: CallRecord) -> Call:
            request = take()
            version = self.acquire(request, record)
            try:
                return prepare(version, request, limits=self.limits)
            except BaseException:
                version.release()
                raise

        return read

    async def model_metadata(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelMetadataRequest with the model's signatures."""
        check_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise invalid(f"Metadata field {short(field)} is not supported")
        version = self.registry.acquire(request.model_spec)
        try:
            record.model, record.version = version.model, version.number
            signatures = message("SignatureDefMap")()
            for name, signature in version.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            response = message("GetModelMetadataResponse")()
            response.model_spec.name = version.model
            response.model_spec.version.value = version.number
            response.metadata[_SIGNATURES].Pack(signatures)
            return response
        finally:
            version.release()

    async def model_status(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelStatusRequest."""
        check_spec(request)
        name = request.model_spec.name
        number = self.registry.version_number(request.model_spec)
        model = self.registry.find(name)
        states = model.states() if model else {}
        if number is not None and number not in states:
            raise not_found(f"Could not find version {number} of model {short(name)}")
        if not states:
            raise not_found(f"Could not find any versions of model {short(name)}")
        record.model = name
        response = message("GetModelStatusResponse")()
        for version in sorted(states, reverse=True) if number is None else [number]:
            state = states[version]
            entry = response.model_version_status.add(version=version)
            entry.state = type(entry).State.Value(state.state)
            entry.status.error_code = state.code
            entry.status.error_message = state.text
        return response

    async def reload_config(self, request: Any, record: CallRecord) -> Any:
        """Answers a ReloadConfigRequest: returns when the new configuration serves."""
        if not self.settings.allow_reload:
            raise ServingError(
                grpc.StatusCode.PERMISSION_DENIED,
                "this server takes no configuration from callers (--allow-reload)",
            )
        response = message("ReloadConfigResponse")()
        try:
            await asyncio.to_thread(self.registry.reload, request.config)
        except ServingError as error:
            response.status.error_code = error.code.value[0]
            response.status.error_message = error.text
        return response


def _releasing(version: LoadedVersion, lease: Lease) -> Callable[[Any], None]:
    def release(_: Any) -> None:
        version.release()
        lease.release()

    return release


def _discard(lease: Lease, reading: "asyncio.Future[Call]") -> None:
    if not reading.cancelled() and reading.exception() is None:
        reading.result().version.release()
    lease.release()


def _forget(result: "asyncio.Future[Any]") -> None:
    """Takes note of an error that nobody waits for, so that asyncio does not report it."""
    result.add_done_callback(lambda done: done.cancelled() or done.exception())
