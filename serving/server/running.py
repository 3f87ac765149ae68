"""Starts the parts, says where they listen, and stops them in order."""

import asyncio
import contextlib
import ctypes
import logging
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import tensorflow as tf
import uvicorn

from components.errors import UserError
from serving.server import rest
from serving.server.access_log import AccessLog
from serving.server.batching import BatchQueue
from serving.server.core import Core
from serving.server.grpc_services import GrpcServer
from serving.server.metrics import Metrics
from serving.server.registry import Registry, parse_config
from serving.server.settings import ServerSettings
from serving.server.status import ServingError

_LOG = logging.getLogger("gatefold.serving")


class _RestServer(uvicorn.Server):
    """uvicorn that leaves the process's signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Raises:
      UserError: A port, a file or the model configuration is not as it must be.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    _LOG.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        config = parse_config(settings.model_config)
    except ServingError as error:
        raise UserError(error.text) from error
    if any(model.base_path.startswith("s3://") for model in config.model_config_list.config):
        _open_object_storage()
    return asyncio.run(_serve(settings, config))


def _open_object_storage() -> None:
    """Registers s3:// with TensorFlow; its library aborts at exit unless it is not run at all."""
    import tensorflow_io  # noqa: F401

    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)


def _bind(host: str, port: int, flag: str) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UserError(f"{flag} {port} on {host} cannot be had: {error.strerror}") from error


async def _serve(settings: ServerSettings, config: object) -> int:
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rest_socket = None
    if settings.rest_port is not None:
        rest_socket = _bind(settings.host, settings.rest_port, "--rest-port")
    try:
        access_log = AccessLog(settings.access_log)
    except OSError as error:
        raise UserError(f"--access-log cannot be opened: {error}") from error

    metrics = Metrics()
    queue = BatchQueue(settings.batching, metrics)
    metrics.queue_length.set_function(lambda: queue.length)
    health: list[GrpcServer] = []

    def on_change(registry: Registry) -> None:
        metrics.observe_versions(registry)
        for server in health:
            asyncio.run_coroutine_threadsafe(server.set_serving(registry.ready()), loop)

    registry = Registry(
        config,
        poll_seconds=settings.poll_seconds,
        intra_op_threads=settings.intra_op_threads,
        on_change=on_change,
    )
    core = Core(registry, queue, metrics, access_log, max_message_bytes=settings.max_message_bytes)
    grpc_server = GrpcServer(core, settings)
    loading = asyncio.create_task(asyncio.to_thread(registry.start))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        return 0
    loading.result()
    try:
        port = await grpc_server.start()
    except RuntimeError as error:
        raise UserError(
            f"--port {settings.port} on {settings.host} cannot be had: is a server running there?"
        ) from error
    health.append(grpc_server)
    await grpc_server.set_serving(registry.ready())
    rest_server, rest_task = _start_rest(core, settings, rest_socket)
    metrics_port = _start_metrics(metrics, settings)
    rest_port = rest_socket.getsockname()[1] if rest_socket else None
    seconds = time.monotonic() - start
    print(_ready_text(settings, registry, port, rest_port, metrics_port, seconds), flush=True)

    await stopping.wait()
    print("Stopping: finishing what is held …", file=sys.stderr, flush=True)
    loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once
    registry.stop()
    if rest_server is not None and rest_task is not None:
        rest_server.should_exit = True
        await asyncio.gather(grpc_server.stop(settings.grace_seconds), rest_task)
    else:
        await grpc_server.stop(settings.grace_seconds)
    await asyncio.to_thread(queue.close)
    access_log.close()
    print("Stopped.", file=sys.stderr, flush=True)
    return 0


def _start_rest(
    core: Core, settings: ServerSettings, listening: socket.socket | None
) -> tuple[uvicorn.Server | None, asyncio.Task[None] | None]:
    if listening is None:
        return None, None
    tls = settings.tls
    config = uvicorn.Config(
        rest.application(core),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_concurrent_calls,
        timeout_graceful_shutdown=int(settings.grace_seconds),
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
        ssl_cert_reqs=2 if tls and tls.client_ca else 0,  # ssl.CERT_REQUIRED, ssl.CERT_NONE
    )
    server = _RestServer(config)
    return server, asyncio.create_task(server.serve(sockets=[listening]))


def _start_metrics(metrics: Metrics, settings: ServerSettings) -> int | None:
    if settings.metrics_port is None:
        return None
    try:
        server, _ = prometheus_client.start_http_server(
            settings.metrics_port, addr=settings.host, registry=metrics.registry
        )
    except OSError as error:
        raise UserError(
            f"--metrics-port {settings.metrics_port} cannot be had: {error.strerror}"
        ) from error
    return int(server.server_port)


def _ready_text(
    settings: ServerSettings,
    registry: Registry,
    port: int,
    rest_port: int | None,
    metrics_port: int | None,
    seconds: float,
) -> str:
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host
    scheme = "https" if settings.tls else "http"
    tls_hint = " --tls" if settings.tls else ""
    models = registry.models()
    first = models[0].name if models else "genre"
    name_hint = "" if first == "genre" else f" --model {shlex.quote(first)}"
    lines = [f"Ready in {seconds:.1f} s (TensorFlow {tf.__version__})."]
    for model in models:
        numbers = ", ".join(map(str, model.numbers()))
        what = f"version {numbers}" if numbers else "no version yet; waiting for one"
        lines.append(f"  {model.name:<9}{what}  ({model.config.base_path})")
    lines.append(
        f"  gRPC     {host}:{port}   try: {_python()} -m serving.client SONG.wav "
        f"--server {host}:{port}{name_hint}{tls_hint}"
    )
    if rest_port is not None:
        lines.append(
            f"  REST     {scheme}://{host}:{rest_port}   try: "
            f"curl {scheme}://{host}:{rest_port}/v1/models/{first}"
        )
    if metrics_port is not None:
        lines.append(f"  metrics  http://{host}:{metrics_port}/metrics")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


def _python() -> str:
    """This interpreter as one would type it here: `.venv/bin/python` in the project's folder."""
    place = Path(sys.executable)
    return str(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place)
