"""The client's gRPC channel: retries, TLS, and errors that say what to do."""

import contextlib
import dataclasses
import http.client
import json
import pathlib
import ssl
from typing import Any

import grpc

from components.common.errors import UserError
from serving.protocol import PREDICTION_SERVICE


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


def open_channel(server: str, tls: Tls | None) -> grpc.Channel:
    """A channel that connects on its first call; plain text without `tls`.

    Raises:
      UserError: A TLS file cannot be read or used, or a certificate comes without its key.
    """
    if tls is None:
        return grpc.insecure_channel(server, options=_OPTIONS)
    if (tls.certificate is None) != (tls.key is None):
        raise UserError("a client certificate needs both its file and its key")
    try:
        _check_files(tls)
        credentials = grpc.ssl_channel_credentials(
            *(path and path.read_bytes() for path in (tls.server_ca, tls.key, tls.certificate))
        )
    except OSError as error:
        raise UserError(f"a TLS file cannot be read: {error}") from error
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.secure_channel(server, credentials, options=[*_OPTIONS, *name])


def _check_files(tls: Tls) -> None:
    """Reads the files as gRPC will, which takes what it cannot use for a server that is missing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = tls.server_ca
    try:
        if tls.server_ca is not None:
            context.load_verify_locations(tls.server_ca)
        file = tls.certificate
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except ssl.SSLError as error:
        raise UserError(
            f"{file} holds no PEM certificate that can be used, or its key is another's or "
            f"encrypted ({error.reason or error})"
        ) from error


# What gRPC says of a connection that fails, and what a person reads.
_REASONS = {
    "DNS": ": its name is not known",
    "resolution": ": its name is not known",
    "andshake": ": it speaks TLS otherwise than the --tls flags say",
    "refused": ": nothing listens there",
}


def explain(error: Any, server: str, timeout_seconds: float) -> CallError:
    """What a user reads of a gRPC error.

    Args:
      error: The `grpc.RpcError` of a call.
      server: The server that was called.
      timeout_seconds: The call's deadline.
    """
    code = error.code()
    details = " ".join((error.details() or "").split("\n\t [[")[0].split())
    unavailable = code is grpc.StatusCode.UNAVAILABLE
    if (code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than" not in details) or (
        unavailable and "full" in details  # a full queue
    ):
        text = f"the server is too busy ({details})"
    elif unavailable and _speaks_http(server):
        text = (
            f"{server} speaks HTTP, not gRPC: it looks like the REST port. Name the gRPC "
            "port (8500 unless the server was told otherwise)"
        )
    elif unavailable:
        why = next((words for part, words in _REASONS.items() if part in details), "")
        text = (
            f"no server answers at {server}{why}. Start one with `make serve`, or name "
            "another with --server"
        )
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"no answer from {server} within {timeout_seconds:g} s"
    else:
        text = details
    return CallError(code.name, text)


def _speaks_http(server: str) -> bool:
    """Whether HTTP/1.1 is answered: of a name's addresses gRPC reports whichever failed last."""
    try:
        with contextlib.closing(http.client.HTTPConnection(server, timeout=1)) as connection:
            connection.request("GET", "/")
            connection.getresponse()
    except (OSError, ValueError, http.client.HTTPException):  # or no host and port
        return False
    return True
