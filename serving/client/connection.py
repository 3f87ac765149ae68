"""A channel to a server: deadlines, retries with back-off, TLS."""

import asyncio
import dataclasses
import pathlib
import random
import time
from typing import Any

import grpc
import grpc.aio

from components.common.errors import UserError
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


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a server is and how to call it.

    Attributes:
      server: "host:port" of gRPC.
      tls: Encryption; None for plain text.
      timeout_seconds: Deadline of a call, its retries included.
      attempts: Most tries of a call while the server is UNAVAILABLE. A server that is too busy
        (RESOURCE_EXHAUSTED, or its queue is full) is asked again until the deadline.
    """

    server: str
    tls: Tls | None = None
    timeout_seconds: float = 30.0
    attempts: int = 5

    def channel_options(self) -> list[tuple[str, Any]]:
        """Options of its gRPC channel."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # gRPC's own pause between connections is a second and more: the retries below decide.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Its channel's credentials; None for plain text.

        Raises:
          UserError: A TLS file cannot be read, or a certificate comes without its key.
        """
        if self.tls is None:
            return None
        if (self.tls.certificate is None) != (self.tls.key is None):
            raise UserError("a client certificate needs both its file and its key")
        return grpc.ssl_channel_credentials(
            _read(self.tls.server_ca), _read(self.tls.key), _read(self.tls.certificate)
        )


class Connection:
    """A gRPC channel; safe to use from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connects on the first call.

        Raises:
          UserError: A TLS file cannot be read.
        """
        self._endpoint = endpoint
        options, credentials = endpoint.channel_options(), endpoint.credentials()
        if credentials is None:
            self._channel = grpc.insecure_channel(endpoint.server, options=options)
        else:
            self._channel = grpc.secure_channel(endpoint.server, credentials, options=options)

    def call(self, method: Method, request: Any, *, timeout_seconds: float | None = None) -> Any:
        """Sends `request`, again and again with growing pauses while the server cannot take it.

        Raises:
          CallError: It failed for good; the text says what to do.
        """
        invoke = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        retries = _Retries(self._endpoint, timeout_seconds)
        while True:
            try:
                return invoke(request, timeout=retries.seconds_left)
            except grpc.RpcError as error:
                pause = retries.pause_after(error)
            time.sleep(pause)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class AsyncConnection:
    """The same for asyncio; for one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connects on the first call.

        Raises:
          UserError: A TLS file cannot be read.
        """
        self._endpoint = endpoint
        self._credentials = endpoint.credentials()
        self._channel: grpc.aio.Channel | None = None

    async def call(
        self, method: Method, request: Any, *, timeout_seconds: float | None = None
    ) -> Any:
        """As `Connection.call`.

        Raises:
          CallError: It failed for good; the text says what to do.
        """
        invoke = self._open_channel().unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        retries = _Retries(self._endpoint, timeout_seconds)
        while True:
            try:
                return await invoke(request, timeout=retries.seconds_left)
            except grpc.RpcError as error:
                pause = retries.pause_after(error)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()

    def _open_channel(self) -> grpc.aio.Channel:
        # Not in the constructor: a channel belongs to the event loop that is running.
        if self._channel is None:
            server, options = self._endpoint.server, self._endpoint.channel_options()
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(server, options=options)
            else:
                self._channel = grpc.aio.secure_channel(server, self._credentials, options=options)
        return self._channel


class _Retries:
    """Decides after each failure of one call whether it is tried again, and when."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float | None) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds or endpoint.timeout_seconds
        self._end = time.monotonic() + self._timeout_seconds
        self._wait = _FIRST_WAIT_SECONDS
        self._unavailable = 0

    @property
    def seconds_left(self) -> float:
        return max(0.001, self._end - time.monotonic())

    def pause_after(self, error: Any) -> float:
        """Seconds to wait before the next try.

        Raises:
          CallError: There is no next one.
        """
        pause = self._wait * random.uniform(0.5, 1.0)
        self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
        if not self._may_pass(error) or time.monotonic() + pause >= self._end:
            raise self._explained(error) from error
        return pause

    def _may_pass(self, error: Any) -> bool:
        details = error.details() or ""
        if _is_busy(error):
            return "larger than max" not in details  # a message's size does not change
        self._unavailable += 1
        return (
            error.code() is grpc.StatusCode.UNAVAILABLE
            and self._unavailable < self._endpoint.attempts
            and not _speaks_http(details)
        )

    def _explained(self, error: Any) -> CallError:
        code, server = error.code(), self._endpoint.server
        details = " ".join((error.details() or "").split("\n\t [[")[0].split())
        if _speaks_http(details):
            details = (
                f"{server} speaks HTTP, not gRPC: it looks like the REST port. Name the gRPC "
                "port (8500 unless the server was told otherwise)"
            )
        elif _is_busy(error) and self._may_pass(error):
            details = f"the server is too busy, for {self._timeout_seconds:g} s now ({details})"
        elif code is grpc.StatusCode.UNAVAILABLE:
            details = (
                f"no server answers at {server}. Start one with `make serve`, or name "
                f"another with --server ({details})"
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"no answer within {self._timeout_seconds:g} s"
        return CallError(code.name, details)


def _is_busy(error: Any) -> bool:
    """Whether there is a server, with more to do than it takes. A full queue is UNAVAILABLE."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED or (
        error.code() is grpc.StatusCode.UNAVAILABLE and "queue" in details and "full" in details
    )


def _speaks_http(details: str) -> bool:
    return "http1.x" in details


def _read(path: pathlib.Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise UserError(f"a TLS file cannot be read: {error}") from error
