"""The client itself: songs to requests, answers to predictions."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from components.audio import codec
from components.audio.settings import AudioSettings
from components.errors import UserError
from serving.client.connection import CallError, Connection, Tls
from serving.client.results import GenrePrediction, window_seconds
from serving.protocol import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    decode_tensor,
    encode_tensor,
    message,
    methods,
)

# 26 MB as 16-bit WAV: far under the server's limit, and a longer song goes in several requests.
MOST_SECONDS_A_REQUEST = 600.0


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What became of one file of many: a prediction or an error, never both.

    Attributes:
      path: The file.
      prediction: What the server says of it.
      error: Why there is none.
    """

    path: pathlib.Path
    prediction: GenrePrediction | None = None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """A version of the model as the server reports it.

    Attributes:
      number: The version.
      state: "AVAILABLE", "LOADING", "UNLOADING", "END" …
      error: Why it could not be loaded, if so.
    """

    number: int
    state: str
    error: str


class GenreClient:
    """Asks a server for the genres of songs.

    Songs go as 16-bit WAV (`classify_wav`): half the bytes of float32 samples, and exactly the
    samples that training saw, since ingest stores 16-bit PCM. Safe to use from several threads.
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
          attempts: Most tries of a call while the server is UNAVAILABLE.

        Raises:
          UserError: Both a version and a label are given, or a TLS file cannot be read.
        """
        if version is not None and label is not None:
            raise UserError(
                f"ask for a version or a label, not both. Received: {version} and {label!r}"
            )
        self.model = model
        self._version = version
        self._label = label
        self._settings = AudioSettings()
        self._connection = Connection(
            server, tls=tls, timeout_seconds=timeout_seconds, attempts=attempts
        )
        self._predict = methods(PREDICTION_SERVICE)["Predict"]
        self._status = methods(MODEL_SERVICE)["GetModelStatus"]

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

    def versions(self) -> list[ServedVersion]:
        """The model's versions that the server knows of, the newest first.

        Raises:
          CallError: NOT_FOUND where it knows no such model, UNAVAILABLE where it does not answer.
        """
        request = message("GetModelStatusRequest")()
        request.model_spec.name = self.model
        response = self._connection.call(self._status, request)
        listed = [
            ServedVersion(
                entry.version,
                type(entry).State.Name(entry.state),
                entry.status.error_message if entry.status.error_code else "",
            )
            for entry in response.model_version_status
        ]
        return sorted(listed, key=lambda entry: entry.number, reverse=True)

    def classify_file(self, path: str | os.PathLike[str]) -> GenrePrediction:
        """Genres of an audio file (.wav .au .flac .mp3 .ogg, any rate, channels and length).

        Raises:
          UserError: The file cannot be read or is no music of three seconds or more.
          CallError: The server did not answer, or refused.
        """
        path = pathlib.Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        return self.classify_bytes(data, name=str(path))

    def classify_bytes(self, data: bytes, *, name: str) -> GenrePrediction:
        """Genres of an audio file's content; `name` is what errors call it.

        Raises:
          UserError, CallError: As `classify_file`.
        """
        try:
            decoded = codec.decode(data, name=name, sample_rate_hz=self._settings.sample_rate_hz)
        except codec.AudioError as error:
            raise UserError(str(error)) from error
        return self.classify_samples(decoded.samples, name=name)

    def classify_samples(self, samples: npt.ArrayLike, *, name: str = "sound") -> GenrePrediction:
        """Genres of mono samples in [-1, 1] at 22 050 Hz.

        Raises:
          UserError: They are shorter than one window.
          CallError: The server did not answer, or refused.
        """
        mono = np.asarray(samples, np.float32)
        settings = self._settings
        if mono.ndim != 1:
            raise UserError(f"{name}: samples must be mono, [n]. Received: shape {mono.shape}")
        if len(mono) < settings.minimum_samples:
            raise UserError(
                f"{name} is too short: at least {settings.window_seconds:g} s are needed. "
                f"Received: {len(mono) / settings.sample_rate_hz:.2f} s"
            )
        most = int(MOST_SECONDS_A_REQUEST * settings.sample_rate_hz)
        parts = np.array_split(mono, -(-len(mono) // most))
        start = time.perf_counter()
        answers = [self._classify_part(part) for part in parts]
        seconds = time.perf_counter() - start
        by_window = [decode_tensor(answer.outputs["window_probabilities"])[0] for answer in answers]
        length = window_seconds(len(parts[0]), len(by_window[0]), settings)
        offsets = np.cumsum([0, *(len(part) for part in parts[:-1])]) / settings.sample_rate_hz
        starts = [
            offset + length * np.arange(len(rows))
            for offset, rows in zip(offsets, by_window, strict=True)
        ]
        windows = np.concatenate(by_window)
        first = answers[0]
        whole = decode_tensor(first.outputs["probabilities"])[0]
        return GenrePrediction(
            name=name,
            model=first.model_spec.name,
            version=first.model_spec.version.value,
            genres=tuple(g.decode() for g in decode_tensor(first.outputs["genres"])[0]),
            probabilities=whole if len(parts) == 1 else windows.mean(axis=0),
            window_probabilities=windows,
            window_starts_seconds=np.concatenate(starts),
            window_seconds=length,
            duration_seconds=len(mono) / settings.sample_rate_hz,
            call_seconds=seconds,
        )

    def stream(
        self, paths: Iterable[pathlib.Path], *, concurrency: int = 4
    ) -> Iterator[FileResult]:
        """Classifies many files, in their order, at most `concurrency` at a time.

        A file that fails gives a result with its error; the others go on. Memory is bounded by the
        concurrency, not by the number of files.
        """

        def classify(path: pathlib.Path) -> FileResult:
            try:
                return FileResult(path, self.classify_file(path))
            except (UserError, CallError) as error:
                return FileResult(path, error=str(error))

        with concurrent.futures.ThreadPoolExecutor(concurrency) as executor:
            pending: collections.deque[concurrent.futures.Future[FileResult]] = collections.deque()
            try:
                for path in paths:
                    pending.append(executor.submit(classify, path))
                    if len(pending) > 2 * concurrency:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _classify_part(self, samples: np.ndarray) -> Any:
        request = message("PredictRequest")()
        spec = request.model_spec
        spec.name, spec.signature_name = self.model, "classify_wav"
        if self._version is not None:
            spec.version.value = self._version
        if self._label is not None:
            spec.version_label = self._label
        wav = codec.encode_wav(samples, self._settings.sample_rate_hz)
        request.inputs["wav"].CopyFrom(encode_tensor([wav]))
        return self._connection.call(self._predict, request)
