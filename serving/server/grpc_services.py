"""PredictionService, ModelService, health checking and reflection, on gRPC's asyncio server.

One event loop reads and answers; the model runs in the batch queue's threads, outside Python's
lock. Calls cost no thread while they wait, and gRPC refuses more than it is told to hold.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.protocol import MODEL_SERVICE, PREDICTION_SERVICE, Method, methods, new_pool
from serving.server.access_log import CallRecord
from serving.server.core import Core
from serving.server.settings import ServerSettings, TlsSettings
from serving.server.status import ServingError, invalid

Answer = Callable[[Any, float | None, CallRecord], Awaitable[Any]]


def _handler(core: Core, method: Method, answer: Answer) -> Any:
    async def handle(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        record = CallRecord("grpc", method.name, context.peer(), request_bytes=len(data))
        try:
            with core.recorded(record):
                if len(data) > core.max_message_bytes:
                    raise invalid(
                        f"the request is too large: it takes {len(data)} bytes, and at most "
                        f"{core.max_message_bytes} are read (--max-message-mib)"
                    )
                try:
                    request = method.request.FromString(data)
                except Exception as error:  # the parser's own error type
                    name = method.request.DESCRIPTOR.name
                    raise invalid(f"the request cannot be read as a {name}") from error
                response = await answer(request, context.time_remaining(), record)
                encoded: bytes = response.SerializeToString()
                record.response_bytes = len(encoded)
                return encoded
        except ServingError as error:
            await context.abort(error.code, error.text)
            raise AssertionError("abort returned") from error

    # Without a deserializer: a request that cannot be read is ours to answer.
    return grpc.unary_unary_rpc_method_handler(handle)


def _services(core: Core) -> dict[str, dict[str, Answer]]:
    return {
        PREDICTION_SERVICE: {
            "Predict": core.predict,
            "Classify": core.classify,
            "Regress": core.regress,
            "MultiInference": core.multi_inference,
            "GetModelMetadata": core.model_metadata,
        },
        MODEL_SERVICE: {
            "GetModelStatus": core.model_status,
            "HandleReloadConfigRequest": core.reload_config,
        },
    }


class GrpcServer:
    """The listening server and its health."""

    def __init__(self, core: Core, settings: ServerSettings) -> None:
        """Makes the server; it listens after `start`."""
        self._settings = settings
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
            options=[
                # gRPC breaks off what is far too large, without a sentence; see `_handler`.
                ("grpc.max_receive_message_length", 2 * settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
            ],
        )
        services = _services(core)
        for service, answers in services.items():
            described = methods(service)
            handlers = {
                name: _handler(core, described[name], answer) for name, answer in answers.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        # Reflection describes all services from one pool, and health checking lies in another.
        described_pool = new_pool()
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            described_pool.AddSerializedFile(file.serialized_pb)
        reflection.enable_server_reflection(names, self._server, pool=described_pool)
        self._names = ("", *services)

    async def start(self) -> int:
        """Listens. Returns the port.

        Raises:
          RuntimeError: The port cannot be had.
        """
        address = f"{self._settings.host}:{self._settings.port}"
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
        """Refuses new calls and waits for those that it holds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
