"""Starts the parts, says where they listen, and stops them in order."""

import asyncio
import logging
import queue
import resource
import shlex
import signal
import sys
import time
from collections.abc import Awaitable
from logging import handlers
from typing import Any

import tensorflow as tf

from components.common.errors import UserError
from components.common.storage import register_s3
from serving.server.errors import ServingError
from serving.server.grpc_server import GrpcServer
from serving.server.metrics import Metrics
from serving.server.queue import Queue
from serving.server.registry import Registry, parse_config
from serving.server.rest import rest_server
from serving.server.sample_files import SampleFiles
from serving.server.sampling import Sampler
from serving.server.service import Service
from serving.server.settings import MEBIBYTE, ServerSettings, listening_socket

_LOG = logging.getLogger("gatefold.serving")
_SAMPLES_SECONDS = 1.0  # at a stop, for samples that are left to write


def serve(settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Threads that load or run a model may still be at work then, and only the end of the process
    ends them.

    Raises:
      UserError: A port, a file or the model configuration is not as it must be.
    """
    # In a thread, so that no call waits for a pipe that nobody reads.
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handlers.QueueListener(lines, logging.StreamHandler(sys.stderr)).start()
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[handlers.QueueHandler(lines)]
    )
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
    return asyncio.run(_serve(settings, config))


async def _serve(settings: ServerSettings, config: Any) -> int:
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    stopping, searched = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rest_socket = None
    if settings.rest_port is not None:
        rest_socket = listening_socket(settings.host, settings.rest_port)
    metrics = Metrics()
    sampler = _sampler(settings, metrics)
    calls = Queue(settings.queue_length, settings.max_batch_size, metrics)

    def on_poll(registry: Registry) -> None:
        metrics.observe_versions(registry)
        if sampler is not None:
            sampler.write_counts()
        loop.call_soon_threadsafe(searched.set)

    registry = Registry(config, poll_seconds=settings.poll_seconds, on_poll=on_poll)
    service = Service(registry, calls, metrics, settings, sampler)
    registry.start()
    await _first_of(searched.wait(), stopping.wait())
    if stopping.is_set():
        return _stopped()

    grpc_server = GrpcServer(service, settings)
    port = await grpc_server.start()
    rest, serving_rest = rest_server(service, settings), None
    if rest_socket is not None:
        serving_rest = asyncio.create_task(rest.serve(sockets=[rest_socket]))
    rest_port = rest_socket.getsockname()[1] if rest_socket else None
    print(_ready_text(settings, registry, port, rest_port, time.monotonic() - start), flush=True)

    while not stopping.is_set():
        await grpc_server.set_serving(registry.ready())
        searched.clear()
        await _first_of(searched.wait(), stopping.wait())
    print("Stopping: finishing what is held …", file=sys.stderr, flush=True)
    loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once
    registry.stop()
    calls.close()
    rest.should_exit = True
    await grpc_server.stop(settings.grace_seconds)
    if serving_rest is not None:
        await serving_rest
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


def _sampler(settings: ServerSettings, metrics: Metrics) -> Sampler | None:
    if settings.sample_folder is None:
        return None
    try:
        files = SampleFiles(settings.sample_folder, settings.sample_mib * MEBIBYTE)
    except OSError as error:
        raise UserError(f"--sample-folder cannot be written to: {error}") from error
    return Sampler(files, settings.sample_requests, metrics)


def _ready_text(
    settings: ServerSettings, registry: Registry, port: int, rest_port: int | None, seconds: float
) -> str:
    here = ("127.0.0.1", "0.0.0.0", "::")
    host = "localhost" if settings.host in here else settings.url_host
    tls = settings.tls_certificate is not None
    first = next(iter(registry.models), "genre")
    hints = "" if first == "genre" else f" --model {shlex.quote(first)}"
    hints += " --tls" if tls else ""
    lines = [f"Ready in {seconds:.1f} s (TensorFlow {tf.__version__})."]
    for name, model in registry.models.items():
        numbers = ", ".join(map(str, model.numbers()))
        state = f"version {numbers}" if numbers else "no version yet; waiting for one"
        lines.append(f"  {name:<9}{state}  ({model.config.base_path})")
    lines.append(
        f"  gRPC     {host}:{port}   try: gatefold client SONG.wav --server {host}:{port}{hints}"
    )
    if rest_port is not None:
        url = f"{'https' if tls else 'http'}://{host}:{rest_port}"
        lines.append(f"  REST     {url}   try: curl {url}/v1/models/{first}")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)
