"""Answers calls, whichever protocol they came by: receive, decode, check, queue, run, encode."""

import asyncio
import concurrent.futures
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc

from serving.protocol import message
from serving.server import check
from serving.server.decode import Find
from serving.server.errors import ServingError, from_call, invalid
from serving.server.loading import LoadedVersion, Signature
from serving.server.metrics import CallRecord, Metrics
from serving.server.queue import Outputs, Queue, in_thread
from serving.server.registry import Registry
from serving.server.sampling import Sampler
from serving.server.settings import ServerSettings

_SIGNATURES = "signature_def"
_RELEASE = "release"  # ours: TF Serving refuses it


class Service:
    """Answers calls."""

    def __init__(
        self,
        registry: Registry,
        queue: Queue,
        metrics: Metrics,
        settings: ServerSettings,
        sampler: Sampler | None = None,
    ) -> None:
        """Takes the parts, started by the caller."""
        self.metrics = metrics
        self.settings = settings
        self._registry = registry
        self._queue = queue
        self._sampler = sampler
        self._limits = check.Limits(settings.max_message_bytes, settings.max_batch_size)
        # One at a time: what a message becomes while it is parsed is held once.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "messages")

    @contextlib.contextmanager
    def recorded(self, record: CallRecord) -> Iterator[None]:
        """Counts the call that is answered inside; turns any error into ServingError."""
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
            record.seconds = time.perf_counter() - start
            self.metrics.observe_call(record)
            if self._sampler is not None:
                self._sampler.count(record)

    async def predict(
        self,
        record: CallRecord,
        receive: Callable[[], Awaitable[bytes]],
        decode: Callable[[bytes, Find, check.Limits], check.Call],
        encode: Callable[[check.Call, Outputs], bytes],
    ) -> bytes:
        """Answers a Predict call.

        Args:
          record: What is counted of the call, to be filled in.
          receive: Reads the request.
          decode: Makes a call of it, in a thread.
          encode: Makes the answer of the model's outputs, in a thread.

        Raises:
          ServingError: The request is refused, or the model failed.
        """

        def find(spec: Any) -> tuple[LoadedVersion, Signature]:
            record.model = self._registry.find(spec).name
            version = self._registry.version(spec)
            return version, check.find_signature(version, spec.signature_name)

        with self._queue.slot():  # a full server refuses before it reads
            data = await self.received(receive)
            call = await in_thread(self._thread, decode, data, find, self._limits)
            outputs = await self._queue.run(call)
            answer = await in_thread(self._thread, encode, call, outputs)
            if self._sampler is not None:
                self._sampler.offer(call, outputs)
            return answer

    async def received(self, receive: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `receive` reads.

        Raises:
          ServingError: DEADLINE_EXCEEDED: it does not arrive in time.
        """
        seconds = self.settings.read_seconds
        try:
            return await asyncio.wait_for(receive(), seconds)
        except asyncio.TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the request did not arrive within {seconds:g} s",
            ) from None

    def model_metadata(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelMetadataRequest: signatures, and what the version says of itself.

        Raises:
          ServingError: There is no such model, or another field was asked for.
        """
        fields = set(request.metadata_field)
        if not fields or not fields <= {_SIGNATURES, _RELEASE}:
            raise invalid(f"the metadata_field must be {_SIGNATURES} or {_RELEASE}")
        record.model = self._registry.find(request.model_spec).name
        version = self._registry.version(request.model_spec)
        response = message("GetModelMetadataResponse")()
        response.model_spec.name = version.model
        response.model_spec.version.value = version.number
        if _SIGNATURES in fields:
            signatures = message("SignatureDefMap")()
            for name, signature in version.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            response.metadata[_SIGNATURES].Pack(signatures)
        if _RELEASE in fields:
            facts = message("google.protobuf.StringValue")(value=json.dumps(version.release.facts))
            response.metadata[_RELEASE].Pack(facts)
        return response

    def model_status(self, request: Any, record: CallRecord) -> Any:
        """Answers a GetModelStatusRequest.

        Raises:
          ServingError: There is no such model or version.
        """
        model = self._registry.find(request.model_spec)
        record.model = model.name
        number = self._registry.version_number(request.model_spec)
        states = {
            version: state for version, state in model.states.items() if number in (None, version)
        }
        if not states:
            raise model.missing(number)
        response = message("GetModelStatusResponse")()
        for version in sorted(states, reverse=True):
            response.model_version_status.add().CopyFrom(states[version])
        return response
