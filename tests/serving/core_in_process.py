"""The server's core in this process, on a real model, for what a test must look into."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from serving.server import rest
from serving.server.access_log import AccessLog
from serving.server.batching import BatchQueue
from serving.server.core import Core
from serving.server.line_writer import LineWriter
from serving.server.metrics import Metrics
from serving.server.registry import Registry, parse_config
from serving.server.rest_server import rest_server
from serving.server.settings import ServerSettings, listening_socket

_Result = TypeVar("_Result")


def one_model(base: pathlib.Path | str, name: str = "genre") -> str:
    """A configuration that serves one model."""
    return f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" }} }}'


def running_core(
    version: pathlib.Path, use: Callable[[Core], Awaitable[_Result]], **settings: object
) -> _Result:
    """Serves `version` as version 1 of `genre` and runs `use` in an event loop."""
    base = version.parent / f"{version.name}-base"
    base.mkdir(exist_ok=True)
    if not (base / "1").exists():
        (base / "1").symlink_to(version)
    chosen = ServerSettings(model_config=one_model(base), **settings)
    registry = Registry(parse_config(chosen.model_config), poll_seconds=60)
    registry.poll()
    metrics = Metrics()
    queue = BatchQueue(chosen.batching, metrics)

    async def run() -> _Result:
        core = Core(registry, queue, metrics, AccessLog("", LineWriter(2)), settings=chosen)
        try:
            return await use(core)
        finally:
            core.close()

    try:
        return asyncio.run(run())
    finally:
        queue.close()
        for model in registry.models():
            model.unload_all()


@contextlib.asynccontextmanager
async def listening_core(core: Core) -> AsyncIterator[tuple[str, int]]:
    """REST calls on a port of its own."""
    server = rest_server(rest.application(core), core.settings)
    sock = listening_socket("127.0.0.1", 0)
    address = sock.getsockname()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield address
    finally:
        server.should_exit = True
        await serving
