"""Starts the parts, says where they listen, and stops them in order."""

import asyncio
import ctypes
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import prometheus_client
import tensorflow as tf

from components.common.errors import UserError
from serving.server import rest
from serving.server.access_log import AccessLog
from serving.server.batching import BatchQueue
from serving.server.core import Core
from serving.server.grpc_services import GrpcServer
from serving.server.line_writer import LineHandler, LineWriter
from serving.server.metrics import Metrics
from serving.server.registry import Registry, parse_config
from serving.server.rest_server import rest_server
from serving.server.sample_files import SampleFiles
from serving.server.sampling import Sampler
from serving.server.settings import ServerSettings, listening_socket
from serving.server.shadow import Shadows
from serving.server.shadow_log import ShadowLog
from serving.server.status import ServingError

_LOG = logging.getLogger("gatefold.serving")
_SCRAPERS = 64  # connections of the metrics port
_LAST_SECONDS = 1.0  # for what is left to write, and for a run that outlasts the grace period


def serve(settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Raises:
      UserError: A port, a file or the model configuration is not as it must be.
    """
    standard_error = LineWriter(sys.stderr.fileno())
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[LineHandler(standard_error)]
    )
    _LOG.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        config = parse_config(settings.model_config)
    except ServingError as error:
        raise UserError(error.text) from error
    if any(model.base_path.startswith("s3://") for model in config.model_config_list.config):
        _open_object_storage()
    return asyncio.run(_serve(settings, config, standard_error))


def _open_object_storage() -> None:
    """Registers s3:// with TensorFlow; its library aborts at exit unless it is not run at all."""
    import tensorflow_io  # noqa: F401

    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)


def _bind(host: str, port: int | None, flag: str) -> socket.socket | None:
    try:
        return None if port is None else listening_socket(host, port)
    except OSError as error:
        raise UserError(f"{flag} {port} on {host} cannot be had: {error.strerror}") from error


async def _serve(settings: ServerSettings, config: object, standard_error: LineWriter) -> int:
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rest_socket = _bind(settings.host, settings.rest_port, "--rest-port")
    metrics_socket = _bind(settings.host, settings.metrics_port, "--metrics-port")
    try:
        access_log = AccessLog(settings.access_log, standard_error)
    except OSError as error:
        raise UserError(f"--access-log cannot be opened: {error}") from error

    metrics = Metrics()
    sampler = _sampler(settings, metrics)
    queue = BatchQueue(settings.batching, metrics)
    health: list[GrpcServer] = []

    def on_change(registry: Registry) -> None:
        metrics.observe_versions(registry)
        for server in health:
            asyncio.run_coroutine_threadsafe(server.set_serving(registry.ready()), loop)

    shadows = Shadows(metrics.observe_shadow, ShadowLog(settings.shadow_log, standard_error))

    def on_search(registry: Registry) -> None:
        metrics.observe_search()
        shadows.search(registry)

    registry = Registry(
        config,
        poll_seconds=settings.poll_seconds,
        intra_op_threads=settings.intra_op_threads,
        on_change=on_change,
        on_search=on_search,
    )
    core = Core(
        registry,
        queue,
        metrics,
        access_log,
        settings=settings,
        shadows=shadows,
        sampler=sampler,
    )
    metrics.queue_length.set_function(lambda: queue.length)
    metrics.memory_bytes.set_function(lambda: core.budget.used_bytes)
    metrics.access_lines_lost.set_function(lambda: access_log.lost)
    grpc_server = GrpcServer(core, settings)
    if not await _loaded(registry, stopping):
        standard_error.write("Stopped.")
        _leave(standard_error)  # what is being loaded cannot be interrupted
    try:
        port = await grpc_server.start()
    except RuntimeError as error:
        raise UserError(
            f"--port {settings.port} on {settings.host} cannot be had: is a server running there?"
        ) from error
    health.append(grpc_server)
    await grpc_server.set_serving(registry.ready())
    listeners, tasks = [], []
    rest_port = metrics_port = None
    if rest_socket is not None:
        rest_port = rest_socket.getsockname()[1]
        listeners.append(rest_server(rest.application(core), settings))
        tasks.append(asyncio.create_task(listeners[-1].serve(sockets=[rest_socket])))
    if metrics_socket is not None:
        metrics_port = metrics_socket.getsockname()[1]
        page = prometheus_client.make_asgi_app(metrics.registry)
        listeners.append(rest_server(page, settings, most_connections=_SCRAPERS))
        tasks.append(asyncio.create_task(listeners[-1].serve(sockets=[metrics_socket])))
    seconds = time.monotonic() - start
    standard_output = LineWriter(sys.stdout.fileno())
    ready = _ready_text(settings, registry, port, rest_port, metrics_port, seconds)
    standard_output.write(ready)

    await stopping.wait()
    end = time.monotonic() + settings.grace_seconds
    standard_error.write("Stopping: finishing what is held …")
    loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once
    registry.stop()
    queue.hurry()
    for listener in listeners:
        listener.should_exit = True
    await asyncio.gather(grpc_server.stop(settings.grace_seconds), *tasks)
    core.close()
    shadows.close()
    left = max(_LAST_SECONDS, end - time.monotonic())
    ended = await asyncio.to_thread(queue.close, left)
    access_log.close()
    if sampler is not None:
        sampler.close(_LAST_SECONDS)
    standard_error.write("Stopped.")
    if not ended or registry.busy:
        _leave(standard_error)
    standard_error.close(_LAST_SECONDS)
    return 0


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


async def _loaded(registry: Registry, stopping: asyncio.Event) -> bool:
    """Loads what there is; False where the server is to stop before that is done."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[None] = loop.create_future()

    def load() -> None:
        try:
            registry.start()
        except Exception as error:
            loop.call_soon_threadsafe(loaded.set_exception, error)
        else:
            loop.call_soon_threadsafe(loaded.set_result, None)

    # A daemon: at its end, Python waits for a pool's threads, however long they load.
    threading.Thread(target=load, name="loading", daemon=True).start()
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((loaded, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if loaded.done():
        loaded.result()
    return loaded.done()


def _leave(standard_error: LineWriter) -> NoReturn:
    """Ends the process beside a thread that is inside of TensorFlow and cannot be stopped."""
    standard_error.close(_LAST_SECONDS)
    os._exit(0)


def _ready_text(
    settings: ServerSettings,
    registry: Registry,
    port: int,
    rest_port: int | None,
    metrics_port: int | None,
    seconds: float,
) -> str:
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
        lines.append(f"  metrics  {scheme}://{host}:{metrics_port}/metrics")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


def _python() -> str:
    """This interpreter as one would type it here: `.venv/bin/python` in the project's folder."""
    place = Path(sys.executable)
    return str(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place)
