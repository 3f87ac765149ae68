"""The client for threads: songs to requests, answers to predictions."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

import numpy as np
import numpy.typing as npt

from components.common.errors import UserError
from serving.client import songs
from serving.client.connection import CallError, Connection, Endpoint, Tls
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
from serving.client.results import Answer, GenrePrediction, PredictionBuilder
from serving.client.songs import OpenParts

# A version that is unloaded in the middle of a song: the song starts over with the next one.
MOST_STARTS = 3


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What became of one file of many: a prediction or an error, never both.

    Attributes:
      path: The file.
      prediction: What the model says of it.
      error: Why there is none.
    """

    path: pathlib.Path
    prediction: GenrePrediction | None = None
    error: str = ""


class GenreClient:
    """Asks a server for the genres of songs. Safe to use from several threads.

    A song over five minutes goes in parts; the version that answers the first part answers all.
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
        """Connects on the first call.

        Args:
          server: "host:port" of the gRPC API.
          model: Name of the served model.
          version: Ask this version; None for the server's latest.
          label: Ask the version of this label ("stable"); not together with `version`.
          tls: Encryption; None for plain text.
          timeout_seconds: Deadline of a call, its retries included.
          attempts: Most tries of a call while the server is UNAVAILABLE. A server that is too
            busy (RESOURCE_EXHAUSTED) is asked again until the deadline.

        Raises:
          UserError: Both a version and a label are given, or a TLS file cannot be read.
        """
        self.model = model
        self._target = Target(model, version, label)
        self._connection = Connection(Endpoint(server, tls, timeout_seconds, attempts))

    def __enter__(self) -> "GenreClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def versions(self, *, timeout_seconds: float | None = None) -> list[ServedVersion]:
        """The model's versions that the server knows of, the newest first.

        Raises:
          CallError: NOT_FOUND where it knows no such model, UNAVAILABLE where it does not answer.
        """
        request = status_request(self.model)
        return read_versions(
            self._connection.call(STATUS, request, timeout_seconds=timeout_seconds)
        )

    def classify_file(
        self,
        path: str | os.PathLike[str],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """Genres of an audio file (.wav .au .flac .mp3 .ogg, with ffmpeg .m4a .aac).

        Any rate, channels and length: it is read from disk part by part.

        Args:
          path: The file.
          version: Ask this version instead of the client's.
          label: Ask the version of this label instead of the client's.
          timeout_seconds: Deadline of each part's call instead of the client's.

        Raises:
          UserError: The file cannot be read, is no music of three seconds or more, or is silent.
          CallError: The server did not answer, or refused.
        """
        path = pathlib.Path(path)
        target = self._target.instead(version, label)
        return self._classify(songs.file_parts(path), str(path), target, timeout_seconds)

    def classify_bytes(
        self,
        data: bytes,
        *,
        name: str,
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """Genres of an audio file's content; `name` is what errors call it.

        Raises:
          UserError, CallError: As `classify_file`.
        """
        target = self._target.instead(version, label)
        return self._classify(songs.byte_parts(data, name=name), name, target, timeout_seconds)

    def classify_samples(
        self,
        samples: npt.ArrayLike,
        *,
        name: str = "sound",
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float | None = None,
    ) -> GenrePrediction:
        """Genres of mono float samples in [-1, 1] at 22 050 Hz.

        Raises:
          UserError: They are not such samples, shorter than one window, or silent.
          CallError: The server did not answer, or refused.
        """
        target = self._target.instead(version, label)
        return self._classify(songs.sample_parts(samples, name=name), name, target, timeout_seconds)

    def stream(
        self, paths: Iterable[pathlib.Path], *, concurrency: int = 4
    ) -> Iterator[FileResult]:
        """Classifies many files, in their order, at most `concurrency` at a time.

        A file that fails gives a result with its error; the others go on. Memory is bounded by the
        concurrency, not by the number of files.
        """
        return stream_files(self.classify_file, paths, concurrency=concurrency)

    def _classify(
        self, open_parts: OpenParts, name: str, target: Target, timeout_seconds: float | None
    ) -> GenrePrediction:
        def ask(part: np.ndarray, version: int | None) -> Answer:
            request = wav_request(target.pinned(version), part)
            return read_answer(
                self._connection.call(PREDICT, request, timeout_seconds=timeout_seconds)
            )

        for start in range(1, MOST_STARTS + 1):
            try:
                return classify_parts(open_parts, ask, name=name)
            except VersionGoneError as error:
                if start == MOST_STARTS:
                    raise error.cause from error
        raise AssertionError("the last start returns or raises")


def stream_files(
    classify: Callable[[pathlib.Path], GenrePrediction],
    paths: Iterable[pathlib.Path],
    *,
    concurrency: int,
) -> Iterator[FileResult]:
    """Classifies many files with `classify`, see `GenreClient.stream`."""

    def result(path: pathlib.Path) -> FileResult:
        try:
            return FileResult(path, classify(path))
        except UserError as error:
            return FileResult(path, error=str(error))

    with concurrent.futures.ThreadPoolExecutor(concurrency) as executor:
        pending: collections.deque[concurrent.futures.Future[FileResult]] = collections.deque()
        try:
            for path in paths:
                pending.append(executor.submit(result, path))
                if len(pending) > 2 * concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class VersionGoneError(Exception):
    """The version that answered a song's first parts was unloaded before the last one.

    Attributes:
      cause: What the server said.
    """

    def __init__(self, cause: CallError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def classify_parts(
    open_parts: OpenParts, ask: Callable[[np.ndarray, int | None], Answer], *, name: str
) -> GenrePrediction:
    """Asks about a song's parts one after the other.

    Args:
      open_parts: Opens the song.
      ask: Asks about one part the version given, or for None any.
      name: What the song is called.

    Raises:
      UserError: The song cannot be read.
      VersionGoneError: See there.
    """
    builder = PredictionBuilder(name, songs.SETTINGS)
    seconds = 0.0
    with open_parts() as parts:
        for part in parts:
            began = time.perf_counter()
            try:
                answer = ask(part, builder.version)
            except CallError as error:
                if builder.version is not None and error.code == "NOT_FOUND":
                    raise VersionGoneError(error) from error
                raise
            seconds += time.perf_counter() - began
            builder.add(len(part), answer)
    return builder.prediction(seconds)
