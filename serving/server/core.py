"""What both protocols do with a call, and how it is counted and logged."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from serving.protocol import message
from serving.server import prediction
from serving.server.access_log import AccessLog, CallRecord
from serving.server.batching import BatchQueue
from serving.server.loading import LoadedVersion
from serving.server.metrics import Metrics
from serving.server.registry import Registry
from serving.server.status import ServingError, from_exception, invalid, not_found

_LOG = logging.getLogger("gatefold.serving")
_SIGNATURES = "signature_def"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"

Prepare = Callable[[LoadedVersion, Any], prediction.Call]


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


class Core:
    """Answers request messages with response messages, whichever way they came."""

    def __init__(
        self,
        registry: Registry,
        queue: BatchQueue,
        metrics: Metrics,
        access_log: AccessLog,
        *,
        max_message_bytes: int,
    ) -> None:
        """Takes the parts, started by the caller."""
        self.registry = registry
        self.metrics = metrics
        self.max_message_bytes = max_message_bytes
        self._queue = queue
        self._access_log = access_log

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
            raise error from caught
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

    async def predict(self, request: Any, timeout_seconds: float | None, record: CallRecord) -> Any:
        """Answers a PredictRequest."""

        def prepare(version: LoadedVersion, message: Any) -> prediction.Call:
            return prediction.prepare_predict(version, message, max_bytes=self.max_message_bytes)

        return await self._run(prepare, request, timeout_seconds, record)

    async def classify(
        self, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        """Answers a ClassificationRequest."""
        return await self._run(prediction.prepare_classify, request, timeout_seconds, record)

    async def regress(self, request: Any, timeout_seconds: float | None, record: CallRecord) -> Any:
        """Answers a RegressionRequest."""
        return await self._run(prediction.prepare_regress, request, timeout_seconds, record)

    async def multi_inference(
        self, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        """Answers a MultiInferenceRequest: each task in turn, on the same examples."""
        if not request.tasks:
            raise invalid("Inference request must contain at least one task.")
        names = {task.model_spec.name for task in request.tasks}
        if len(names) > 1:
            raise invalid(
                f"All ModelSpecs in a MultiInferenceRequest must access the same model: {names}"
            )
        response = message("MultiInferenceResponse")()
        for task in request.tasks:
            if task.method_name not in (_CLASSIFY, _REGRESS):
                raise ServingError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"Unsupported signature method_name: {task.method_name}",
                )
            classifies = task.method_name == _CLASSIFY
            kind = "ClassificationRequest" if classifies else "RegressionRequest"
            single = message(kind)(model_spec=task.model_spec, input=request.input)
            run = self.classify if classifies else self.regress
            answer = await run(single, timeout_seconds, record)
            result = response.results.add(model_spec=answer.model_spec)
            field = result.classification_result if classifies else result.regression_result
            field.CopyFrom(answer.result)
        return response

    async def model_metadata(
        self, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        """Answers a GetModelMetadataRequest with the model's signatures."""
        _check_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise invalid(f"Metadata field {field} is not supported")
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

    async def model_status(
        self, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        """Answers a GetModelStatusRequest."""
        _check_spec(request)
        name = request.model_spec.name
        number = self.registry.version_number(request.model_spec)
        model = self.registry.find(name)
        states = model.states() if model else {}
        if number is not None and number not in states:
            raise not_found(f"Could not find version {number} of model {name}")
        if not states:
            raise not_found(f"Could not find any versions of model {name}")
        record.model = name
        response = message("GetModelStatusResponse")()
        for version in sorted(states, reverse=True) if number is None else [number]:
            state = states[version]
            entry = response.model_version_status.add(version=version)
            entry.state = type(entry).State.Value(state.state)
            entry.status.error_code = state.code
            entry.status.error_message = state.text
        return response

    async def reload_config(
        self, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        """Answers a ReloadConfigRequest: returns when the new configuration serves."""
        response = message("ReloadConfigResponse")()
        try:
            await asyncio.to_thread(self.registry.reload, request.config)
        except ServingError as error:
            response.status.error_code = error.code.value[0]
            response.status.error_message = error.text
        return response

    async def _run(
        self, prepare: Prepare, request: Any, timeout_seconds: float | None, record: CallRecord
    ) -> Any:
        _check_spec(request)
        version = self.registry.acquire(request.model_spec)
        record.model, record.version = version.model, version.number
        record.signature = request.model_spec.signature_name or prediction.DEFAULT_SIGNATURE
        try:
            call = prepare(version, request)
            record.rows = call.rows
            ticket = self._queue.submit(call, timeout_seconds=timeout_seconds)
        except BaseException:
            version.release()
            raise
        # Not when this coroutine ends: a cancelled call may still be running.
        ticket.future.add_done_callback(lambda _: version.release())
        try:
            outputs = await asyncio.wrap_future(ticket.future)
        finally:
            record.queue_milliseconds = ticket.queue_seconds * 1000
        self.metrics.observe_queue(ticket.queue_seconds)
        return call.answer(outputs)
