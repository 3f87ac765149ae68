"""PredictionService, ModelService, health checking and reflection, on gRPC's asyncio server."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.protocol import MODEL_SERVICE, PREDICTION_SERVICE, methods, new_pool, parse
from serving.server import decode, encode
from serving.server.errors import ServingError, invalid
from serving.server.metrics import CallRecord
from serving.server.service import Service
from serving.server.settings import ServerSettings

_STREAMS = 64  # calls of health and reflection beside those that the queue holds
_STOP_LOOK_SECONDS = 0.05
_Answer = Callable[[grpc.aio.ServicerContext, CallRecord], Awaitable[bytes]]


class GrpcServer:
    """The gRPC side of a server."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        """Makes the server; it listens after `start`."""
        self._service = service
        self._settings = settings
        self._calls = 0
        held = settings.queue_length
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
        metadata = self._look_up(PREDICTION_SERVICE, "GetModelMetadata", service.model_metadata)
        status = self._look_up(MODEL_SERVICE, "GetModelStatus", service.model_status)
        calls = {
            PREDICTION_SERVICE: {"Predict": self._predict, "GetModelMetadata": metadata},
            MODEL_SERVICE: {"GetModelStatus": status},
        }
        for name, answers in calls.items():
            handlers = {method: self._handler(method, answers[method]) for method in answers}
            generic = grpc.method_handlers_generic_handler(name, handlers)
            self._server.add_generic_rpc_handlers((generic,))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        # Reflection describes all services from one pool, and health checking lies in another.
        described_pool = new_pool()
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            described_pool.AddSerializedFile(file.serialized_pb)
        names = (*calls, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=described_pool)

    async def start(self) -> int:
        """Listens. Returns the port.

        Raises:
          RuntimeError: The port is not available.
        """
        address = f"{self._settings.url_host}:{self._settings.port}"
        credentials = _credentials(self._settings)
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        await self._server.start()
        return int(port)

    async def set_serving(self, serving: bool) -> None:
        """Says through the health service whether calls can be answered."""
        status = health_pb2.HealthCheckResponse
        for name in ("", PREDICTION_SERVICE, MODEL_SERVICE):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls and waits for those that it holds, then ends streams of health."""
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(self._server.stop(grace_seconds))
        while self._calls and not stopping.done():
            await asyncio.wait((stopping,), timeout=_STOP_LOOK_SECONDS)
        await self._server.stop(None)
        await stopping

    async def _predict(self, context: grpc.aio.ServicerContext, record: CallRecord) -> bytes:
        return await self._service.predict(
            record,
            functools.partial(_received, context),
            decode.message_call,
            encode.message_answer,
        )

    def _look_up(
        self, service: str, method: str, look_up: Callable[[Any, CallRecord], Any]
    ) -> _Answer:
        async def answer(context: grpc.aio.ServicerContext, record: CallRecord) -> bytes:
            data = await self._service.received(functools.partial(_received, context))
            try:
                request = parse(methods(service)[method].request, data)
            except ValueError as error:
                raise invalid(str(error)) from error
            return bytes(look_up(request, record).SerializeToString())

        return answer

    def _handler(self, method: str, answer: _Answer) -> grpc.RpcMethodHandler:
        async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            self._calls += 1
            record = CallRecord("grpc", method)
            try:
                with self._service.recorded(record):
                    return await answer(context, record)
            except ServingError as error:
                try:
                    await context.abort(error.code, error.text)
                except grpc.aio.InternalError:  # nobody is there any more
                    raise asyncio.CancelledError from error
                raise AssertionError("abort returned") from error
            finally:
                self._calls -= 1

        # As a stream of one message, which is the same on the wire: gRPC then receives the message
        # when it is asked for, and a full server refuses before. Without a deserializer: a request
        # that cannot be read is ours to answer.
        return grpc.stream_unary_rpc_method_handler(handle)


async def _received(context: grpc.aio.ServicerContext) -> bytes:
    data = await context.read()
    if not isinstance(data, bytes):  # gRPC's EOF; too large a message is refused by gRPC itself
        raise invalid("the call ended before its request came")
    return data


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    client_ca = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
