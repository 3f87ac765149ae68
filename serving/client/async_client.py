"""The client for asyncio."""

import asyncio
import collections
import contextlib
import os
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any

import numpy.typing as npt

from components.common.errors import UserError
from serving.client import songs
from serving.client.connection import AsyncConnection, CallError, Endpoint, Tls
from serving.client.genre_client import MOST_STARTS, FileResult, VersionGoneError
from serving.client.requests import (
    PREDICT,
    STATUS,
    ServedVersion,
    Target,
    read_answer,
    read_versions,
    status_request,
    wav_request,
)
from serving.client.results import GenrePrediction, PredictionBuilder
from serving.client.songs import OpenParts


class AsyncGenreClient:
    """`GenreClient` for asyncio: the same calls, awaited.

    Files are read and decoded in threads, so that the event loop stays free. For one event loop.

        async with AsyncGenreClient("localhost:8500") as client:
            prediction = await client.classify_file("song.mp3")
    """

    def __init__(
        self,
        server: str = "localhost:8500",
        *,
        model: str = "genre",
        version: int | None = None,
        label: str | None = None,
        tls: Tls | None = None,
        timeout_seconds: float = 30.0,
        attempts: int = 5,
    ) -> None:
        """Connects on the first call; the arguments are `GenreClient`'s.

        Raises:
          UserError: Both a version and a label are given, or a TLS file cannot be read.
        """
        self.model = model
        self._target = Target(model, version, label)
        self._connection = AsyncConnection(Endpoint(server, tls, timeout_seconds, attempts))

    async def __aenter__(self) -> "AsyncGenreClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def versions(self, *, timeout_seconds: float | None = None) -> list[ServedVersion]:
        """As `GenreClient.versions`.

        Raises:
          CallError: As there.
        """
        request = status_request(self.model)
        response = await self._connection.call(STATUS, request, timeout_seconds=timeout_seconds)
        return read_versions(response)

    async def classify_file(
        self,
        path: str | os.PathLike[str],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """As `GenreClient.classify_file`.

        Raises:
          UserError, CallError: As there.
        """
        path = pathlib.Path(path)
        target = self._target.instead(version, label)
        return await self._classify(songs.file_parts(path), str(path), target, timeout_seconds)

    async def classify_bytes(
        self,
        data: bytes,
        *,
        name: str,
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """As `GenreClient.classify_bytes`.

        Raises:
          UserError, CallError: As there.
        """
        target = self._target.instead(version, label)
        parts = songs.byte_parts(data, name=name)
        return await self._classify(parts, name, target, timeout_seconds)

    async def classify_samples(
        self,
        samples: npt.ArrayLike,
        *,
        name: str = "sound",
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """As `GenreClient.classify_samples`.

        Raises:
          UserError, CallError: As there.
        """
        target = self._target.instead(version, label)
        parts = songs.sample_parts(samples, name=name)
        return await self._classify(parts, name, target, timeout_seconds)

    async def stream(
        self, paths: Iterable[pathlib.Path], *, concurrency: int = 4
    ) -> AsyncIterator[FileResult]:
        """As `GenreClient.stream`: many files, in their order, at most `concurrency` at a time."""

        async def classify(path: pathlib.Path) -> FileResult:
            try:
                return FileResult(path, await self.classify_file(path))
            except UserError as error:
                return FileResult(path, error=str(error))

        pending: collections.deque[asyncio.Task[FileResult]] = collections.deque()
        try:
            for path in paths:
                if len(pending) == concurrency:
                    yield await pending.popleft()
                pending.append(asyncio.create_task(classify(path)))
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _classify(
        self, open_parts: OpenParts, name: str, target: Target, timeout_seconds: float | None
    ) -> GenrePrediction:
        for start in range(1, MOST_STARTS + 1):
            try:
                return await self._ask_parts(open_parts, name, target, timeout_seconds)
            except VersionGoneError as error:
                if start == MOST_STARTS:
                    raise error.cause from error
        raise AssertionError("the last start returns or raises")

    async def _ask_parts(
        self, open_parts: OpenParts, name: str, target: Target, timeout_seconds: float | None
    ) -> GenrePrediction:
        builder = PredictionBuilder(name, songs.SETTINGS)
        seconds = 0.0
        with contextlib.ExitStack() as stack:
            parts = await _in_thread(stack.enter_context, open_parts())
            while (part := await _in_thread(next, parts, None)) is not None:
                began = time.perf_counter()
                request = await _in_thread(wav_request, target.pinned(builder.version), part)
                try:
                    response = await self._connection.call(
                        PREDICT, request, timeout_seconds=timeout_seconds
                    )
                except CallError as error:
                    if builder.version is not None and error.code == "NOT_FOUND":
                        raise VersionGoneError(error) from error
                    raise
                seconds += time.perf_counter() - began
                builder.add(len(part), read_answer(response))
        return builder.prediction(seconds)


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `function` in a thread, to its end also where the task is cancelled meanwhile.

    A file must not be closed while a thread reads it.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
