"""PredictionService, ModelService, health checking and reflection, on gRPC's asyncio server.

One event loop reads and answers; the model runs in the batch queue's threads, outside Python's
lock. Calls cost no thread while they wait, and gRPC refuses more than it is told to hold.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from serving.protocol import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Method,
    WireError,
    check_parsed_size,
    methods,
    new_pool,
)
from serving.server import prediction
from serving.server.access_log import CallRecord
from serving.server.core import Arrival, Core, Prepare
from serving.server.settings import ServerSettings, TlsSettings
from serving.server.status import ServingError, invalid

# Fields of a message before it is parsed: a batch of songs has some dozens, and the samples of a
# minute sent one by one (which no client of TensorFlow does) would have a million.
_MOST_FIELDS = 262_144
_STOP_LOOK_SECONDS = 0.05
_FOR_THE_MODEL = {"Predict", "Classify", "Regress", "MultiInference"}
_MOST_STREAMS = 64  # of health and reflection, which stay open for as long as callers like
_PARSED_FACTOR = 2  # a parsed message takes at most so many times the largest message

# Answers a serialized request with a message; empties the list that the request comes in.
Answer = Callable[[list[bytes], Arrival], Awaitable[Any]]


class _Services:
    """What is answered to the calls of each service."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._max_bytes = core.settings.max_message_bytes

    def answers(self) -> dict[str, dict[str, Answer]]:
        """The functions that answer, by service and name of the call."""
        core = self._core
        predictions, models = methods(PREDICTION_SERVICE), methods(MODEL_SERVICE)
        return {
            PREDICTION_SERVICE: {
                "Predict": self._inference(predictions["Predict"], prediction.prepare_predict),
                "Classify": self._inference(predictions["Classify"], prediction.prepare_classify),
                "Regress": self._inference(predictions["Regress"], prediction.prepare_regress),
                "MultiInference": self._multi_inference(predictions["MultiInference"]),
                "GetModelMetadata": self._look_up(
                    predictions["GetModelMetadata"], core.model_metadata
                ),
            },
            MODEL_SERVICE: {
                "GetModelStatus": self._look_up(models["GetModelStatus"], core.model_status),
                "HandleReloadConfigRequest": self._look_up(
                    models["HandleReloadConfigRequest"], core.reload_config
                ),
            },
        }

    def _inference(self, method: Method, prepare: Prepare) -> Answer:
        async def answer(box: list[bytes], arrival: Arrival) -> Any:
            # The message lives only while it is turned into arrays, which alone wait for the model.
            read = self._core.reader(prepare, lambda: self._parse(method, box))
            return await self._core.infer(read, arrival)

        return answer

    def _multi_inference(self, method: Method) -> Answer:
        async def answer(box: list[bytes], arrival: Arrival) -> Any:
            request = await self._core.off_loop(len(box[0]), lambda: self._parse(method, box))
            return await self._core.multi_inference(request, arrival)

        return answer

    def _look_up(
        self, method: Method, look_up: Callable[[Any, CallRecord], Awaitable[Any]]
    ) -> Answer:
        async def answer(box: list[bytes], arrival: Arrival) -> Any:
            request = await self._core.off_loop(len(box[0]), lambda: self._parse(method, box))
            return await look_up(request, arrival.record)

        return answer

    def _parse(self, method: Method, box: list[bytes]) -> Any:
        data = box.pop()
        name = method.request.DESCRIPTOR.name
        try:
            check_parsed_size(
                data,
                method.request.DESCRIPTOR,
                max_fields=_MOST_FIELDS,
                max_bytes=_PARSED_FACTOR * self._max_bytes,
            )
        except WireError as error:
            raise invalid(f"the {name} is too large: {error}") from error
        try:
            return method.request.FromString(data)
        except Exception as error:  # the parser's own error type
            raise invalid(f"the request cannot be read as a {name}") from error


def _handler(
    core: Core, method: Method, answer: Answer, held: set[grpc.aio.ServicerContext]
) -> Any:
    async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
        held.add(context)
        context.add_done_callback(held.discard)
        record = CallRecord("grpc", method.name, context.peer())
        try:
            with core.recorded(record):
                if len(held) > core.settings.max_concurrent_calls:
                    raise ServingError(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent call limit exceeded!"
                    )
                queued = method.name in _FOR_THE_MODEL
                async with core.admitted(queued=queued) as (lease, place):
                    box = [await _receive(context, core.settings.read_seconds)]
                    record.request_bytes = len(box[0])
                    arrival = Arrival(record, lease, place, context.time_remaining())
                    response = await answer(box, arrival)
                    size = response.ByteSize()
                    encoded: bytes = await core.off_loop(size, response.SerializeToString)
                    record.response_bytes = size
                    return encoded
        except ServingError as error:
            await context.abort(error.code, error.text)
            raise AssertionError("abort returned") from error

    # As a stream of one message, which is the same on the wire: gRPC then receives the message
    # when it is asked for, not before the budget has room for it. Without a deserializer: a
    # request that cannot be read is ours to answer.
    return grpc.stream_unary_rpc_method_handler(handle)


async def _receive(context: grpc.aio.ServicerContext, seconds: float) -> bytes:
    try:
        data = await asyncio.wait_for(context.read(), seconds)
    except asyncio.TimeoutError:
        raise ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"the request did not arrive within {seconds:g} s"
        ) from None
    if not isinstance(data, bytes):  # gRPC's EOF; too large a message is refused by gRPC itself
        raise invalid("the call ended before its request came")
    return data


class _Streams:
    """Counts open streams, so that they cannot take all the calls that gRPC holds."""

    def __init__(self) -> None:
        self._open = 0

    async def enter(self, context: grpc.aio.ServicerContext) -> None:
        """Counts a stream until it ends, or refuses it."""
        if self._open >= _MOST_STREAMS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{_MOST_STREAMS} streams of health and reflection are open, and no more are held",
            )
        self._open += 1
        context.add_done_callback(self._leave)

    def _leave(self, _: grpc.aio.ServicerContext) -> None:
        self._open -= 1


class _Health(health.aio.HealthServicer):
    def __init__(self, streams: _Streams) -> None:
        super().__init__()
        self._streams = streams

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> None:
        await self._streams.enter(context)
        await super().Watch(request, context)


class _Reflection(reflection.aio.ReflectionServicer):
    def __init__(self, names: Sequence[str], pool: Any, streams: _Streams) -> None:
        super().__init__(names, pool=pool)
        self._streams = streams

    async def ServerReflectionInfo(  # noqa: N802
        self, request_iterator: Any, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        await self._streams.enter(context)
        async for answer in super().ServerReflectionInfo(request_iterator, context):
            yield answer


class GrpcServer:
    """The listening server and its health."""

    def __init__(self, core: Core, settings: ServerSettings) -> None:
        """Makes the server; it listens after `start`."""
        self._settings = settings
        self._server = grpc.aio.server(
            # Room for those that are being refused, too: what is answered is counted here.
            maximum_concurrent_rpcs=2 * (settings.max_concurrent_calls + _MOST_STREAMS),
            options=[
                # Of a compressed message, too: gRPC stops unpacking there.
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Calls that wait for their turn to be read buffer 64 KiB each, not megabytes.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
            ],
        )
        self._held: set[grpc.aio.ServicerContext] = set()  # calls that are not yet answered
        services = _Services(core).answers()
        for service, answers in services.items():
            descriptors = methods(service)
            handlers = {
                name: _handler(core, descriptors[name], answer, self._held)
                for name, answer in answers.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        streams = _Streams()
        self._health = _Health(streams)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        # Reflection describes all services from one pool, and health checking lies in another.
        described_pool = new_pool()
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            described_pool.AddSerializedFile(file.serialized_pb)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            _Reflection(names, described_pool, streams), self._server
        )
        self._names = ("", *services)

    async def start(self) -> int:
        """Listens. Returns the port.

        Raises:
          RuntimeError: The port cannot be had.
        """
        address = f"{self._settings.url_host}:{self._settings.port}"
        if self._settings.tls is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, _credentials(self._settings.tls))
        await self._server.start()
        return int(port)

    async def set_serving(self, serving: bool) -> None:
        """Says through the health service whether calls can be answered."""
        status = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls and waits for those that it holds.

        Streams of health and reflection stay open for as long as their callers like, so they are
        ended once the calls that need the model are answered.
        """
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(self._server.stop(grace_seconds))
        while self._held and not stopping.done():
            await asyncio.wait((stopping,), timeout=_STOP_LOOK_SECONDS)
        await self._server.stop(None)
        await stopping


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
