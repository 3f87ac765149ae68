"""Answers calls, whichever protocol they came by: receive, decode, check, queue, run, encode."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import grpc

from serving.protocol import message
from serving.server import check
from serving.server.access_log import CallRecord
from serving.server.batching import BatchQueue, Outputs
from serving.server.errors import ServingError, from_call, invalid, not_found, short
from serving.server.loading import Signature
from serving.server.metrics import Metrics
from serving.server.registry import Registry
from serving.server.sampling import Sampler
from serving.server.settings import ServerSettings

_SIGNATURES = "signature_def"
_Result = TypeVar("_Result")


class Exchange(Protocol):
    """One Predict call of a protocol: how its request is read and its answer written.

    All but `receive` runs in a thread.
    """

    async def receive(self) -> bytes:
        """The request's bytes."""

    def parse(self, data: bytes) -> Any:
        """The request."""

    def spec(self, request: Any) -> Any:
        """The request's ModelSpec."""

    def inputs(self, signature: Signature, request: Any, limits: check.Limits) -> Any:
        """The request's inputs by name, checked."""

    def outputs(self, request: Any) -> Any:
        """Names of the outputs to fetch; empty for all."""

    def encode(self, call: check.Call, outputs: Outputs) -> bytes:
        """The answer."""


class Service:
    """Answers calls."""

    def __init__(
        self,
        registry: Registry,
        queue: BatchQueue,
        metrics: Metrics,
        access_log: logging.Logger,
        *,
        settings: ServerSettings,
        sampler: Sampler | None = None,
    ) -> None:
        """Takes the parts, started by the caller."""
        self.registry = registry
        self.metrics = metrics
        self.settings = settings
        self._queue = queue
        self._access_log = access_log
        self._sampler = sampler
        self._limits = check.Limits(settings.max_message_bytes, settings.batching.max_batch_size)
        # One at a time: what a message becomes while it is parsed is held once.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "messages")

    @contextlib.contextmanager
    def recorded(self, record: CallRecord) -> Iterator[None]:
        """Counts and logs the call that is answered inside; turns any error into ServingError."""
        start = time.perf_counter()
        try:
            yield
        except asyncio.CancelledError:
            record.status = grpc.StatusCode.CANCELLED.name
            raise
        except ServingError as error:
            record.status, record.error = error.code.name, error.text
            raise
        except Exception as error:
            record.status = grpc.StatusCode.INTERNAL.name
            raise from_call(error) from error
        finally:
            record.milliseconds = (time.perf_counter() - start) * 1000
            self.metrics.observe_call(record)
            if self._access_log.handlers:
                self._access_log.info("%s", record.as_line())
            if self._sampler is not None:
                self._sampler.count(record)

    async def predict(
        self, exchange: Exchange, record: CallRecord, *, timeout_seconds: float | None = None
    ) -> bytes:
        """Answers a Predict call.

        Args:
          exchange: The call.
          record: Its line in the access log, to be filled in.
          timeout_seconds: How long its caller will wait; None for ever.

        Raises:
          ServingError: The request is refused, or the model failed.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(self._queue.place())  # a full server refuses before it reads
            call = await self._read(exchange, record, held)
            outputs = await self._queue.run(call, timeout_seconds)
            answer = await self._in_thread(exchange.encode, call, outputs)
            if self._sampler is not None:
                self._sampler.offer(call, outputs)
            record.response_bytes = len(answer)
            return answer

    async def _read(
        self, exchange: Exchange, record: CallRecord, held: contextlib.ExitStack
    ) -> check.Call:
        """The checked call, whose version stays in use until `held` ends."""
        request = await self._in_thread(exchange.parse, await self._receive(exchange, record))
        spec = exchange.spec(request)
        model = self.registry.find(spec)
        record.model = model.name
        version = held.enter_context(model.use(self.registry.version_number(spec)))
        record.version = version.number
        signature = check.find_signature(version, spec.signature_name)
        record.signature = signature.name
        inputs = await self._in_thread(exchange.inputs, signature, request, self._limits)
        outputs = check.output_names(signature, exchange.outputs(request))
        call = check.Call(version, signature, inputs, outputs)
        record.rows = call.rows
        return call

    async def _receive(self, exchange: Exchange, record: CallRecord) -> bytes:
        seconds = self.settings.read_seconds
        try:
            data = await asyncio.wait_for(exchange.receive(), seconds)
        except asyncio.TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the request did not arrive within {seconds:g} s",
            ) from None
        record.request_bytes = len(data)
        return data

    async def _in_thread(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Does work in the thread of messages. Who is cancelled waits until it has ended.

        An error comes back as a value and is raised anew, so that no traceback holds the request.
        """
        outcome = functools.partial(_outcome, work, *arguments)
        running = asyncio.get_running_loop().run_in_executor(self._thread, outcome)
        try:
            result = await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        if isinstance(result, ServingError):
            raise ServingError(result.code, result.text)
        return result

    def model_metadata(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelMetadataRequest with the model's signatures.

        Raises:
          ServingError: There is no such model, or another field was asked for.
        """
        if list(request.metadata_field) != [_SIGNATURES]:
            raise invalid(f"the metadata_field must be {_SIGNATURES}")
        model = self.registry.find(request.model_spec)
        record.model = model.name
        response = message("GetModelMetadataResponse")()
        with model.use(self.registry.version_number(request.model_spec)) as version:
            record.version = version.number
            signatures = message("SignatureDefMap")()
            for name, signature in version.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            response.model_spec.name = version.model
            response.model_spec.version.value = version.number
            response.metadata[_SIGNATURES].Pack(signatures)
        return response

    def model_status(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelStatusRequest.

        Raises:
          ServingError: There is no such model or version.
        """
        model = self.registry.find(request.model_spec)
        record.model = model.name
        number = self.registry.version_number(request.model_spec)
        states = model.states()
        if number is not None:
            states = {version: state for version, state in states.items() if version == number}
        if not states:
            which = "version" if number is None else f"version {number}"
            raise not_found(f"there is no {which} of model {short(model.name)}")
        response = message("GetModelStatusResponse")()
        for version in sorted(states, reverse=True):
            entry = response.model_version_status.add(version=version)
            entry.state = type(entry).State.Value(states[version].state)
            entry.status.error_code = states[version].code
            entry.status.error_message = states[version].text
        return response


def _outcome(work: Callable[..., _Result], *arguments: Any) -> _Result | ServingError:
    try:
        return work(*arguments)
    except Exception as error:
        return from_call(error)
