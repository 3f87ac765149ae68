"""Calls to a server over one gRPC channel: deadlines, retries, TLS, errors with what to do."""

import dataclasses
import json
import pathlib
from typing import Any

import grpc
import numpy as np

from components.audio import codec
from components.common.errors import UserError
from serving.client.results import Answer
from serving.client.songs import SETTINGS
from serving.protocol import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Method,
    decode_tensor,
    encode_tensor,
    message,
    methods,
)

_PREDICT = methods(PREDICTION_SERVICE)["Predict"]
_STATUS = methods(MODEL_SERVICE)["GetModelStatus"]


def _retries(first_pause: str, longest_pause: str, multiplier: float) -> dict[str, Any]:
    return {
        "maxAttempts": 5,  # the most that gRPC takes
        "initialBackoff": first_pause,
        "maxBackoff": longest_pause,
        "backoffMultiplier": multiplier,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }


_SERVICE_CONFIG = {
    "methodConfig": [
        # A busy server is given about 15 s; a missing one shows within 3 s, as its status is asked.
        {"name": [{"service": PREDICTION_SERVICE}], "retryPolicy": _retries("0.5s", "10s", 3)},
        {"name": [{}], "retryPolicy": _retries("0.2s", "2s", 2)},
    ]
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A larger request is not sent again; five minutes of sound are 13 MB.
    ("grpc.per_rpc_retry_buffer_size", 64 << 20),
    # gRPC's own pause between connections is a second and more: the retries above decide.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class CallError(UserError):
    """A call that failed for good.

    Attributes:
      code: The gRPC status code's name ("INVALID_ARGUMENT").
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Tls:
    """PEM files of an encrypted connection.

    Attributes:
      server_ca: Certificates that the server's must be signed by; None takes the system's.
      certificate: The client's own certificate, where the server asks for one.
      key: That certificate's private key.
      server_name: The name to expect in the server's certificate, where it is not the address.
    """

    server_ca: pathlib.Path | None = None
    certificate: pathlib.Path | None = None
    key: pathlib.Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC makes of the files.

        Raises:
          UserError: A file cannot be read, or a certificate comes without its key.
        """
        if (self.certificate is None) != (self.key is None):
            raise UserError("a client certificate needs both its file and its key")
        try:
            return grpc.ssl_channel_credentials(
                *(path and path.read_bytes() for path in (self.server_ca, self.key)),
                self.certificate and self.certificate.read_bytes(),
            )
        except OSError as error:
            raise UserError(f"a TLS file cannot be read: {error}") from error


@dataclasses.dataclass(frozen=True)
class Target:
    """The version that a request asks.

    Attributes:
      model: Name of the served model.
      version: This version; None for the server's latest.
      label: The version of this label; not together with `version`.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuses a version together with a label.

        Raises:
          UserError: Both are given.
        """
        if self.version is not None and self.label is not None:
            raise UserError(
                "ask for a version or a label, not both. "
                f"Received: {self.version} and {self.label!r}"
            )


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """A version of the model as the server reports it.

    Attributes:
      number: The version.
      state: "AVAILABLE", "LOADING", "UNLOADING", "END" …
      error: Why it could not be loaded, if so.
    """

    number: int
    state: str
    error: str


class Connection:
    """A gRPC channel; safe to use from several threads."""

    def __init__(self, server: str, tls: Tls | None, timeout_seconds: float) -> None:
        """Connects on the first call.

        Args:
          server: "host:port" of the gRPC API.
          tls: Encryption; None for plain text.
          timeout_seconds: Deadline of a call, its retries included.

        Raises:
          UserError: A TLS file cannot be read.
        """
        self._server = server
        self._timeout_seconds = timeout_seconds
        if tls is None:
            self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        else:
            name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            self._channel = grpc.secure_channel(
                server, tls.credentials(), options=[*_OPTIONS, *name]
            )

    def predict(
        self, target: Target, samples: np.ndarray, *, timeout_seconds: float | None = None
    ) -> Answer:
        """Asks about mono samples at 22 050 Hz.

        They go as 16-bit WAV: half the bytes of float32 samples, and exactly the samples that
        training saw, since ingest stores 16-bit PCM.

        Raises:
          CallError: It failed for good; the text says what to do.
        """
        request = message("PredictRequest")()
        spec = request.model_spec
        spec.name, spec.signature_name = target.model, "classify_wav"
        if target.version is not None:
            spec.version.value = target.version
        if target.label is not None:
            spec.version_label = target.label
        wav = codec.encode_wav(samples, SETTINGS.sample_rate_hz)
        request.inputs["wav"].CopyFrom(encode_tensor([wav]))
        response = self._call(_PREDICT, request, timeout_seconds)
        outputs = {name: decode_tensor(tensor)[0] for name, tensor in response.outputs.items()}
        return Answer.of(response.model_spec.name, response.model_spec.version.value, outputs)

    def versions(self, model: str, *, timeout_seconds: float | None = None) -> list[ServedVersion]:
        """The versions of a model that the server knows, the newest first.

        Raises:
          CallError: NOT_FOUND where it knows no such model, UNAVAILABLE where it does not answer.
        """
        request = message("GetModelStatusRequest")()
        request.model_spec.name = model
        response = self._call(_STATUS, request, timeout_seconds)
        listed = [
            ServedVersion(
                entry.version,
                type(entry).State.Name(entry.state),
                entry.status.error_message if entry.status.error_code else "",
            )
            for entry in response.model_version_status
        ]
        return sorted(listed, key=lambda entry: entry.number, reverse=True)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _call(self, method: Method, request: Any, timeout_seconds: float | None) -> Any:
        invoke = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        timeout = timeout_seconds or self._timeout_seconds
        try:
            return invoke(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._explained(error, timeout) from error

    def _explained(self, error: Any, timeout_seconds: float) -> CallError:
        code, server = error.code(), self._server
        details = " ".join((error.details() or "").split("\n\t [[")[0].split())
        if "http1.x" in details:
            text = (
                f"{server} speaks HTTP, not gRPC: it looks like the REST port. Name the gRPC "
                "port (8500 unless the server was told otherwise)"
            )
        elif (code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than" not in details) or (
            code is grpc.StatusCode.UNAVAILABLE and "full" in details  # a full queue
        ):
            text = f"the server is too busy ({details})"
        elif code is grpc.StatusCode.UNAVAILABLE:
            text = (
                f"no server answers at {server}. Start one with `make serve`, or name "
                f"another with --server ({details})"
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"no answer from {server} within {timeout_seconds:g} s"
        else:
            text = details
        return CallError(code.name, text)
