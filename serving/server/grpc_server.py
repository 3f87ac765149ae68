"""PredictionService, ModelService, health checking and reflection, on gRPC's asyncio server."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from serving.protocol import MODEL_SERVICE, PREDICTION_SERVICE, Method, methods, new_pool, parse
from serving.server import decode, encode
from serving.server.access_log import CallRecord
from serving.server.batching import Outputs
from serving.server.check import Call, Limits
from serving.server.errors import ServingError, invalid
from serving.server.loading import Signature
from serving.server.service import Service
from serving.server.settings import ServerSettings, TlsSettings

_STREAMS = 64  # calls of health and reflection beside those that the queue holds
_STOP_LOOK_SECONDS = 0.05


class _Predict:
    """A Predict call; see `service.Exchange`."""

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context

    async def receive(self) -> bytes:
        return await _received(self._context)

    def parse(self, data: bytes) -> Any:
        return _parsed(methods(PREDICTION_SERVICE)["Predict"], data)

    def spec(self, request: Any) -> Any:
        return request.model_spec

    def inputs(self, signature: Signature, request: Any, limits: Limits) -> Any:
        return decode.message_inputs(signature, request, limits)

    def outputs(self, request: Any) -> Any:
        return request.output_filter

    def encode(self, call: Call, outputs: Outputs) -> bytes:
        return encode.message_answer(call, outputs)


async def _received(context: grpc.aio.ServicerContext) -> bytes:
    data = await context.read()
    if not isinstance(data, bytes):  # gRPC's EOF; too large a message is refused by gRPC itself
        raise invalid("the call ended before its request came")
    return data


def _parsed(method: Method, data: bytes) -> Any:
    try:
        return parse(method.request, data)
    except ValueError as error:
        raise invalid(str(error)) from error


class GrpcServer:
    """The listening server and its health."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        """Makes the server; it listens after `start`."""
        self._service = service
        self._settings = settings
        held = settings.batching.queue_length
        self._server = grpc.aio.server(
            # Twice, for those that the full queue refuses, which takes no time.
            maximum_concurrent_rpcs=2 * held + _STREAMS,
            options=[
                # Of a compressed message, too: gRPC stops unpacking there.
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", held + _STREAMS),  # one connection leaves some
                # Calls that wait to be read buffer 64 KiB each, not megabytes.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
            ],
        )
        predictions, models = methods(PREDICTION_SERVICE), methods(MODEL_SERVICE)
        self._add(PREDICTION_SERVICE, {
            "Predict": self._handler(predictions["Predict"], self._predict),
            "GetModelMetadata": self._look_up(
                predictions["GetModelMetadata"], service.model_metadata
            ),
        })  # fmt: skip
        self._add(MODEL_SERVICE, {
            "GetModelStatus": self._look_up(models["GetModelStatus"], service.model_status)
        })  # fmt: skip
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (PREDICTION_SERVICE, MODEL_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        # Reflection describes all services from one pool, and health checking lies in another.
        described_pool = new_pool()
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            described_pool.AddSerializedFile(file.serialized_pb)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names, pool=described_pool), self._server
        )
        self._names = ("", PREDICTION_SERVICE, MODEL_SERVICE)
        self._calls = 0

    async def start(self) -> int:
        """Listens. Returns the port.

        Raises:
          RuntimeError: The port is not available.
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
        """Refuses new calls and waits for those that it holds, then ends streams of health."""
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(self._server.stop(grace_seconds))
        while self._calls and not stopping.done():
            await asyncio.wait((stopping,), timeout=_STOP_LOOK_SECONDS)
        await self._server.stop(None)
        await stopping

    def _add(self, name: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, handlers),)
        )

    async def _predict(self, context: grpc.aio.ServicerContext, record: CallRecord) -> bytes:
        return await self._service.predict(
            _Predict(context), record, timeout_seconds=context.time_remaining()
        )

    def _look_up(
        self, method: Method, look_up: Callable[[Any, CallRecord], Any]
    ) -> grpc.RpcMethodHandler:
        async def answer(context: grpc.aio.ServicerContext, record: CallRecord) -> bytes:
            data = await asyncio.wait_for(_received(context), self._settings.read_seconds)
            return bytes(look_up(_parsed(method, data), record).SerializeToString())

        return self._handler(method, answer)

    def _handler(self, method: Method, answer: Callable[..., Any]) -> grpc.RpcMethodHandler:
        async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            self._calls += 1
            record = CallRecord("grpc", method.name, context.peer())
            try:
                with self._service.recorded(record):
                    return bytes(await answer(context, record))
            except ServingError as error:
                await context.abort(error.code, error.text)
                raise AssertionError("abort returned") from error
            finally:
                self._calls -= 1

        # As a stream of one message, which is the same on the wire: gRPC then receives the message
        # when it is asked for, and a full server refuses before. Without a deserializer: a request
        # that cannot be read is ours to answer.
        return grpc.stream_unary_rpc_method_handler(handle)


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
