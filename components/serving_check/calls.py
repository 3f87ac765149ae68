"""Calls a model: over gRPC and REST as callers do, and bare, as a function of this process."""

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.serving_check.settings import ServingCheckSettings

Arrays = dict[str, np.ndarray]
_MOST_BYTES = 256 << 20


class CallError(Exception):
    """A call was refused or failed; the text says how."""


class GrpcCaller:
    """Calls a server by TF Serving's gRPC API; `close` it."""

    protocol = "gRPC"

    def __init__(self, host: str, port: int, settings: ServingCheckSettings) -> None:
        """Connects at the first call."""
        options = [
            ("grpc.max_receive_message_length", _MOST_BYTES),
            ("grpc.max_send_message_length", _MOST_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.insecure_channel(f"{host}:{port}", options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._settings = settings

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature.

        Args:
          signature: Its name.
          inputs: Arrays by input name; bytes as dtype object.

        Returns:
          Arrays by output name.

        Raises:
          CallError: The call did not succeed.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._settings.model_name
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._stub.Predict(request, timeout=self._settings.call_seconds)
        except grpc.RpcError as error:
            raise CallError(f"{error.code().name}: {_short(error.details())}") from error
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


class RestCaller:
    """Calls a server by TF Serving's REST API."""

    protocol = "REST"

    def __init__(self, host: str, port: int, settings: ServingCheckSettings) -> None:
        """Connects at each call."""
        self._address, self._settings = (host, port), settings

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature in columnar format: arguments, result and errors of `GrpcCaller`'s."""
        columns = {name: _json_values(array) for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        path = f"/v1/models/{self._settings.model_name}:predict"
        connection = http.client.HTTPConnection(*self._address, timeout=self._settings.call_seconds)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != http.client.OK:
                raise CallError(f"status {response.status}: {_short(content.decode())}")
            outputs = json.loads(content)["outputs"]
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            raise CallError(f"{type(error).__name__}: {_short(str(error))}") from error
        finally:
            connection.close()
        answers = outputs if isinstance(outputs, dict) else {"": outputs}
        return {name: _array(values) for name, values in answers.items()}


class BareModel:
    """The SavedModel in this process, loaded as a server loads it: nothing around the model.

    Attributes:
      signatures: Their definitions by name.
    """

    protocol = "a bare call"

    def __init__(self, folder: str) -> None:
        """Loads it.

        Raises:
          Exception: It cannot be loaded; which error depends on what is broken.
        """
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], folder)
        self.signatures: dict[str, Any] = {
            name: definition
            for name, definition in loaded.signature_def.items()
            if not name.startswith("__saved_model")
        }

    def close(self) -> None:
        """Frees it."""
        self._session.close()

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Calls a signature: arguments and result of `GrpcCaller`'s.

        Raises:
          tf.errors.OpError: The graph refuses the inputs.
        """
        definition = self.signatures[signature]
        names = list(definition.outputs)
        values = self._session.run(
            [definition.outputs[name].name for name in names],
            {definition.inputs[name].name: array for name, array in inputs.items()},
        )
        return dict(zip(names, values, strict=True))


def _json_values(array: np.ndarray) -> Any:
    if array.dtype == object:
        return [{"b64": base64.b64encode(value).decode()} for value in array]
    return array.tolist()


def _array(values: Any) -> np.ndarray:
    """Columns of a REST answer as gRPC gives them: texts as bytes, whether in base64 or plain."""
    array = np.array(values)
    if array.dtype.kind not in "OU":
        return array
    texts = [
        base64.b64decode(text["b64"]) if isinstance(text, dict) else str(text).encode()
        for text in array.ravel()
    ]
    return np.array(texts, dtype=object).reshape(array.shape)


def _short(text: str | None) -> str:
    return " ".join((text or "no reason given").split())[:300]
