"""The server's line of work in this process, on a real model, for what a test must look into."""

import asyncio
import pathlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.server.metrics import Metrics
from serving.server.queue import Queue
from serving.server.registry import Registry, parse_config
from serving.server.service import Service
from serving.server.settings import ServerSettings

_Result = TypeVar("_Result")


def one_model(base: pathlib.Path | str, name: str = "genre") -> str:
    """A configuration that serves one model."""
    return f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" }} }}'


def polled(config: str) -> Registry:
    """A registry that has searched its base paths once."""
    registry = Registry(parse_config(config), poll_seconds=60)
    registry.poll()
    return registry


def with_service(version: pathlib.Path, use: Callable[[Service], Awaitable[_Result]]) -> _Result:
    """Serves `version` as version 1 of `genre` and runs `use` in an event loop."""
    base = version.parent / f"{version.name}-base"
    base.mkdir(exist_ok=True)
    if not (base / "1").exists():
        (base / "1").symlink_to(version)
    settings = ServerSettings(model_config=one_model(base))
    registry = polled(settings.model_config)

    async def run() -> _Result:
        metrics = Metrics()
        queue = Queue(settings.queue_length, settings.max_batch_size, metrics)
        return await use(Service(registry, queue, metrics, settings))

    return asyncio.run(run())
