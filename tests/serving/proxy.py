"""A gRPC server between a client and a real one: refuses what a test says, and keeps a record."""

import concurrent.futures
from typing import Any

import grpc

from serving.protocol import PREDICTION_SERVICE, message


class Proxy:
    """Passes calls on to a server.

    Attributes:
      address: "localhost:port" where it listens.
      requests: The PredictRequests that came, in order.
      refusals: What the next Predict calls are refused with, (code, details) each; None lets one
        pass.
    """

    def __init__(self, server: str) -> None:
        self.requests: list[Any] = []
        self.refusals: list[tuple[grpc.StatusCode, str] | None] = []
        self._channel = grpc.insecure_channel(
            server, options=[("grpc.max_receive_message_length", -1)]
        )
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(8),
            handlers=[_Handler(self)],
            options=[("grpc.max_receive_message_length", -1)],
        )
        self.address = f"localhost:{self._server.add_insecure_port('localhost:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def answer(self, path: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        if path == f"/{PREDICTION_SERVICE}/Predict":
            self.requests.append(message("PredictRequest").FromString(data))
            refusal = self.refusals.pop(0) if self.refusals else None
            if refusal is not None:
                context.abort(*refusal)
        try:
            return self._channel.unary_unary(path)(data, timeout=60)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            lambda data, context: self._proxy.answer(details.method, data, context)
        )
