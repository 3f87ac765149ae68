"""uvicorn with the bounds that it leaves to a proxy: slow callers, idle ones, endless headers."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.server.settings import ServerSettings

_MOST_HEADER_SECONDS = 10.0
_MOST_HEADER_BYTES = 64 * 1024
_MOST_CONNECTIONS = 1024


class RestServer(uvicorn.Server):
    """uvicorn that leaves the process's signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class _Protocol(HttpToolsProtocol):
    """A connection that sends its headers in time and at a bearable size, and reads its answers."""

    _header_seconds = _MOST_HEADER_SECONDS
    _unread_seconds = 30.0
    _most_connections = _MOST_CONNECTIONS  # more close the one that has been idle the longest
    _header_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does so only for sockets that it makes itself. Without, an answer's body waits for
        # the caller to acknowledge its headers, which callers put off by 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened = self.loop.time()
        self._expect_headers()
        if len(self.connections) > self._most_connections:
            idle = [cast(_Protocol, c) for c in self.connections if cast(_Protocol, c).idle]
            if idle:
                min(idle, key=lambda connection: connection._opened).transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self._header_timer is not None:
            self._header_bytes += len(data)
            if self._header_bytes > _MOST_HEADER_BYTES and b"\r\n\r\n" not in data:
                self.send_400_response("The headers are too long.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._stop_unread_timer()
        super().resume_writing()

    def _expect_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._stop_unread_timer()
        self._unread_timer = self.loop.call_later(self._unread_seconds, self._check_reading, unread)

    def _check_reading(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() >= unread_before:
            self.transport.abort()  # the answer would stay in memory for as long as it likes
        else:
            self._expect_reading()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        self._unread_timer = None

    def _expect_headers(self) -> None:
        self._stop_timer()
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(self._header_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
        self._header_timer = None


def _most_connections() -> int:
    """Half of the files that this process may open, at most: many systems start with 1024."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if files < 0 else min(_MOST_CONNECTIONS, files // 2)


def rest_server(
    application: Any, settings: ServerSettings, *, most_connections: int | None = None
) -> RestServer:
    """The server of the ASGI `application`; it is started by its `serve`.

    Args:
      application: What answers.
      settings: TLS, time limits and proxies.
      most_connections: Connections before idle ones are closed; None for up to 1024, as the
        system's limit of open files allows.
    """

    class Protocol(_Protocol):
        _header_seconds = min(_MOST_HEADER_SECONDS, settings.read_seconds)
        _unread_seconds = settings.read_seconds
        _most_connections = most_connections or _most_connections()

    tls = settings.tls
    asks = tls is not None and tls.client_ca is not None
    config = uvicorn.Config(
        application,
        http=Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=int(settings.grace_seconds),
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if asks else ssl.CERT_NONE,
    )
    return RestServer(config)
