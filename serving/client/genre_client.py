"""The client: songs to requests, answers to predictions."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from components.common.errors import UserError
from serving.client import songs
from serving.client.connection import CallError, Connection, ServedVersion, Target, Tls
from serving.client.results import Answer, GenrePrediction, join_answers
from serving.client.songs import OpenParts

# A version that is unloaded in the middle of a song: the song starts over with the next one.
_MOST_STARTS = 3


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

    def as_json(self) -> dict[str, Any]:
        """The result as JSON's types."""
        if self.prediction is None:
            return {"file": os.fspath(self.path), "error": self.error}
        return self.prediction.as_json()


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
    ) -> None:
        """Connects on the first call.

        Args:
          server: "host:port" of the gRPC API.
          model: Name of the served model.
          version: Ask this version; None for the server's latest.
          label: Ask the version of this label ("stable"); not together with `version`.
          tls: Encryption; None for plain text.
          timeout_seconds: Deadline of a call. Until then gRPC tries it up to five times while the
            server is UNAVAILABLE or too busy (RESOURCE_EXHAUSTED).

        Raises:
          UserError: Both a version and a label are given, or a TLS file cannot be read.
        """
        self.model = model
        self._target = Target(model, version, label)
        self._connection = Connection(server, tls, timeout_seconds)

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
        return self._connection.versions(self.model, timeout_seconds=timeout_seconds)

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
        parts = songs.file_parts(pathlib.Path(path))
        return self._classify(parts, os.fspath(path), version, label, timeout_seconds)

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
        parts = songs.byte_parts(data, name=name)
        return self._classify(parts, name, version, label, timeout_seconds)

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
        parts = songs.sample_parts(samples, name=name)
        return self._classify(parts, name, version, label, timeout_seconds)

    def stream(
        self, paths: Iterable[pathlib.Path], *, concurrency: int = 4
    ) -> Iterator[FileResult]:
        """Classifies many files, in their order, at most `concurrency` at a time.

        A file that fails gives a result with its error; the others go on. Memory is bounded by the
        concurrency, not by the number of files.
        """
        return stream_files(self.classify_file, paths, concurrency=concurrency)

    def _classify(
        self,
        open_parts: OpenParts,
        name: str,
        version: int | None,
        label: str | None,
        timeout_seconds: float | None,
    ) -> GenrePrediction:
        first = self._target
        if version is not None or label is not None:
            first = Target(self.model, version, label)
        target = first

        def ask(part: np.ndarray) -> Answer:
            nonlocal target
            answer = self._connection.predict(target, part, timeout_seconds=timeout_seconds)
            target = Target(self.model, answer.version)
            return answer

        for start in range(1, _MOST_STARTS + 1):
            try:
                return classify_parts(open_parts, ask, name=name)
            except CallError as error:
                unloaded = error.code == "NOT_FOUND" and target is not first
                if not unloaded or start == _MOST_STARTS:
                    raise
                target = first
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


def classify_parts(
    open_parts: OpenParts, ask: Callable[[np.ndarray], Answer], *, name: str
) -> GenrePrediction:
    """Asks about a song's parts one after the other.

    Args:
      open_parts: Opens the song.
      ask: Asks about one part.
      name: What the song is called.

    Raises:
      UserError: The song cannot be read.
    """
    lengths: list[int] = []
    answers: list[Answer | None] = []
    seconds = 0.0
    with open_parts() as parts:
        for part in parts:
            began = time.perf_counter()
            # Of a song that falls silent for minutes, a part may be of silence.
            answers.append(None if songs.is_silent(part) else ask(part))
            seconds += time.perf_counter() - began
            lengths.append(len(part))
    return join_answers(name, lengths, answers, songs.SETTINGS, call_seconds=seconds)
