"""A channel to a server: deadlines, retries with back-off, TLS."""

import dataclasses
import pathlib
import random
import time
from typing import Any

import grpc

from components.errors import UserError
from serving.protocol import Method

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0


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


class Connection:
    """A gRPC channel; safe to use from several threads."""

    def __init__(
        self,
        server: str,
        *,
        tls: Tls | None = None,
        timeout_seconds: float = 30.0,
        attempts: int = 5,
    ) -> None:
        """Connects on the first call.

        Args:
          server: "host:port".
          tls: Encryption; None for plain text.
          timeout_seconds: Deadline of a call, its retries included.
          attempts: Most tries of a call while the server is UNAVAILABLE.

        Raises:
          UserError: A TLS file cannot be read.
        """
        self.server = server
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # gRPC's own pause between connections is a second and more: the retries below decide.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls is None:
            self._channel = grpc.insecure_channel(server, options=options)
        else:
            if tls.server_name:
                options.append(("grpc.ssl_target_name_override", tls.server_name))
            self._channel = grpc.secure_channel(server, _credentials(tls), options=options)

    def call(self, method: Method, request: Any) -> Any:
        """Sends `request`, again and again with growing pauses while the server is UNAVAILABLE.

        Raises:
          CallError: It failed for good; the text says what to do.
        """
        invoke = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        end = time.monotonic() + self._timeout_seconds
        wait = _FIRST_WAIT_SECONDS
        for attempt in range(1, self._attempts + 1):
            try:
                return invoke(request, timeout=max(0.001, end - time.monotonic()))
            except grpc.RpcError as error:
                pause = wait * random.uniform(0.5, 1.0)
                out_of_time = time.monotonic() + pause >= end
                unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
                if not unavailable or attempt == self._attempts or out_of_time:
                    raise self._explain(error) from error
            time.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _explain(self, error: Any) -> CallError:
        code = error.code()
        details = " ".join((error.details() or "").split("\n\t [[")[0].split())
        if code is grpc.StatusCode.UNAVAILABLE:
            details = (
                f"no server answers at {self.server}. Start one with `make serve`, or name "
                f"another with --server ({details})"
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"no answer within {self._timeout_seconds:g} s"
        return CallError(code.name, details)


def _read(path: pathlib.Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise UserError(f"a TLS file cannot be read: {error}") from error


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    if (tls.certificate is None) != (tls.key is None):
        raise UserError("a client certificate needs both its file and its key")
    return grpc.ssl_channel_credentials(
        _read(tls.server_ca), _read(tls.key), _read(tls.certificate)
    )
