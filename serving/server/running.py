"""Starts the parts, says where they listen, and stops them in order."""

import asyncio
import logging
import resource
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable
from pathlib import Path

import tensorflow as tf
from starlette.applications import Starlette
from starlette.routing import Route

from components.common.errors import UserError
from components.common.storage import register_s3
from serving.server import rest
from serving.server.access_log import BackgroundHandler, open_access_log
from serving.server.batching import BatchQueue
from serving.server.errors import ServingError
from serving.server.grpc_server import GrpcServer
from serving.server.metrics import Metrics
from serving.server.registry import Registry, parse_config
from serving.server.sample_files import SampleFiles
from serving.server.sampling import Sampler
from serving.server.service import Service
from serving.server.settings import ServerSettings, listening_socket

_LOG = logging.getLogger("gatefold.serving")
_SAMPLES_SECONDS = 1.0  # at a stop, for samples that are left to write


def serve(settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Threads that load or run a model may still be at work then, and only the end of the process
    ends them.

    Raises:
      UserError: A port, a file or the model configuration is not as it must be.
    """
    standard_error = BackgroundHandler(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[standard_error])
    _LOG.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    try:
        config = parse_config(settings.model_config)
    except ServingError as error:
        raise UserError(error.text) from error
    if any(model.base_path.startswith("s3://") for model in config.model_config_list.config):
        register_s3()
    return asyncio.run(_serve(settings, config, standard_error))


async def _serve(
    settings: ServerSettings, config: object, standard_error: BackgroundHandler
) -> int:
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rest_socket = _bind(settings.host, settings.rest_port, "--rest-port")
    metrics_socket = _bind(settings.host, settings.metrics_port, "--metrics-port")
    try:
        access_log = open_access_log(settings.access_log, standard_error)
    except OSError as error:
        raise UserError(f"--access-log cannot be opened: {error}") from error

    metrics = Metrics()
    sampler = _sampler(settings, metrics)
    queue = BatchQueue(settings.batching, metrics)
    changed = asyncio.Event()

    def on_poll(registry: Registry) -> None:
        metrics.observe_search(registry)
        loop.call_soon_threadsafe(changed.set)

    registry = Registry(
        config,
        poll_seconds=settings.poll_seconds,
        intra_op_threads=settings.intra_op_threads,
        on_poll=on_poll,
    )
    service = Service(registry, queue, metrics, access_log, settings=settings, sampler=sampler)
    metrics.queue_length.set_function(lambda: queue.length)
    metrics.requests_held.set_function(lambda: queue.held)
    metrics.access_lines_lost.set_function(
        lambda: sum(getattr(handler, "lost", 0) for handler in access_log.handlers)
    )
    # A daemon: what is being loaded cannot be interrupted.
    threading.Thread(target=registry.start, name="loading", daemon=True).start()
    await _first_of(changed.wait(), stopping.wait())
    if stopping.is_set():
        return _stopped()

    grpc_server = GrpcServer(service, settings)
    try:
        port = await grpc_server.start()
    except RuntimeError as error:
        raise UserError(
            f"Could not bind to {settings.host}, --port {settings.port}: is a server running there?"
        ) from error
    listeners: list[rest.RestServer] = []
    tasks: list[asyncio.Task[None]] = []
    apps = (
        (rest.application(service), rest_socket),
        (Starlette(routes=[Route("/metrics", rest.metrics_page(service))]), metrics_socket),
    )
    for app, listening in apps:
        if listening is not None:
            listeners.append(rest.rest_server(app, settings))
            tasks.append(asyncio.create_task(listeners[-1].serve(sockets=[listening])))
    ports = port, *(s.getsockname()[1] if s else None for s in (rest_socket, metrics_socket))
    print(_ready_text(settings, registry, ports, time.monotonic() - start), flush=True)

    while not stopping.is_set():
        await grpc_server.set_serving(registry.ready())
        changed.clear()
        await _first_of(changed.wait(), stopping.wait())
    print("Stopping: finishing what is held …", file=sys.stderr, flush=True)
    loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once
    registry.stop()
    closing = asyncio.create_task(queue.close())
    for listener in listeners:
        listener.should_exit = True
    await asyncio.gather(grpc_server.stop(settings.grace_seconds), *tasks)
    await asyncio.wait((closing,), timeout=1.0)
    if sampler is not None:
        await asyncio.to_thread(sampler.close, _SAMPLES_SECONDS)
    return _stopped()


async def _first_of(*awaitables: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _stopped() -> int:
    print("Stopped.", file=sys.stderr, flush=True)
    return 0


def _bind(host: str, port: int | None, flag: str) -> socket.socket | None:
    try:
        return None if port is None else listening_socket(host, port)
    except OSError as error:
        raise UserError(f"Could not bind to {host}, {flag} {port}: {error.strerror}") from error


def _sampler(settings: ServerSettings, metrics: Metrics) -> Sampler | None:
    sampling = settings.sampling
    if sampling is None:
        return None
    try:
        files = SampleFiles(sampling.folder, sampling.most_bytes)
    except OSError as error:
        raise UserError(f"--sample-folder cannot be written to: {error}") from error
    return Sampler(
        files, share=sampling.share, sound=sampling.sound, observe=metrics.observe_sample
    )


def _ready_text(
    settings: ServerSettings,
    registry: Registry,
    ports: tuple[int | None, ...],
    seconds: float,
) -> str:
    port, rest_port, metrics_port = ports
    here = ("127.0.0.1", "0.0.0.0", "::")
    host = "localhost" if settings.host in here else settings.url_host
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
    python = Path(sys.executable)  # as one would type it in the project's folder
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    lines.append(
        f"  gRPC     {host}:{port}   try: {shown} -m serving.client SONG.wav "
        f"--server {host}:{port}{name_hint}{tls_hint}"
    )
    if rest_port is not None:
        url = f"{scheme}://{host}:{rest_port}"
        lines.append(f"  REST     {url}   try: curl {url}/v1/models/{first}")
    if metrics_port is not None:
        lines.append(f"  metrics  {scheme}://{host}:{metrics_port}/metrics")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)
