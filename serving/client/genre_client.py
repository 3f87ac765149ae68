"""The client: songs to requests, answers to predictions."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import numpy.typing as npt

from components.audio import codec, loudness
from components.common.errors import UserError
from serving.client import songs
from serving.client.connection import CallError, Tls, explain, open_channel
from serving.client.results import Answer, GenrePrediction, join_answers
from serving.client.songs import OpenParts
from serving.protocol import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Method,
    decode_tensor,
    encode_tensor,
    methods,
)

_PREDICT = methods(PREDICTION_SERVICE)["Predict"]
_STATUS = methods(MODEL_SERVICE)["GetModelStatus"]
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

    A long song goes in parts of up to five minutes; the version that answers the first part
    answers all.

    Examples:
      >>> with GenreClient() as client:
      ...     client.classify_file("song.wav").genre
      'jazz'
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
          UserError: Both a version and a label are given, one of them or the model can be no
            server's, or a TLS file cannot be read.
        """
        if version is not None and label is not None:
            raise UserError(
                f"ask for a version or a label, not both. Received: {version} and {label!r}"
            )
        self._server = server
        self._model = model
        self._version = version
        self._label = label
        try:
            self._request(version)
        except ValueError as error:
            raise UserError(
                f"no server has such a model, version or label ({error}). "
                f"Received: {model!r}, {version}, {label!r}"
            ) from error
        self._timeout_seconds = timeout_seconds
        self._channel = open_channel(server, tls)

    def __enter__(self) -> "GenreClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def versions(self) -> dict[int, str]:
        """The state ("AVAILABLE", "LOADING" …) of each version that the server knows, newest first.

        Raises:
          CallError: NOT_FOUND where it knows no such model, UNAVAILABLE where it does not answer.
        """
        request = _STATUS.request()
        request.model_spec.name = self._model
        listed = self._call(_STATUS, request).model_version_status
        states = {entry.version: type(entry).State.Name(entry.state) for entry in listed}
        return dict(sorted(states.items(), reverse=True))

    def classify_file(self, path: str | os.PathLike[str]) -> GenrePrediction:
        """Genres of an audio file (.wav .au .flac .mp3 .ogg, with ffmpeg .m4a .aac).

        Any rate, channels and length: it is read from disk part by part.

        Raises:
          UserError: The file cannot be read, is no music of three seconds or more, or is silent.
          CallError: The server did not answer, or refused.
        """
        return self._classify(songs.file_parts(pathlib.Path(path)), os.fspath(path))

    def classify_bytes(self, data: bytes, *, name: str) -> GenrePrediction:
        """Genres of an audio file's content; `name` is what errors call it.

        Raises:
          UserError, CallError: As `classify_file`.
        """
        return self._classify(songs.byte_parts(data, name=name), name)

    def classify_samples(self, samples: npt.ArrayLike, *, name: str = "sound") -> GenrePrediction:
        """Genres of mono float samples in [-1, 1] at 22 050 Hz.

        Raises:
          UserError: They are not such samples, shorter than one window, or silent.
          CallError: The server did not answer, or refused.
        """
        return self._classify(songs.sample_parts(samples, name=name), name)

    def stream(
        self, paths: Iterable[pathlib.Path], *, concurrency: int = 4
    ) -> Iterator[FileResult]:
        """Classifies many files, in their order, at most `concurrency` at a time.

        A file that fails gives a result with its error; the others go on. Memory is bounded by the
        concurrency, not by the number of files.
        """
        return stream_files(self.classify_file, paths, concurrency=concurrency)

    def _classify(self, open_parts: OpenParts, name: str) -> GenrePrediction:
        version = self._version
        rate: int | None = None

        def ask(wav: bytes) -> Answer:
            nonlocal version
            answer = self._predict(wav, version)
            version = answer.version
            return answer

        for start in range(1, _MOST_STARTS + 1):
            try:
                return classify_parts(open_parts, ask, name=name, sample_rate_hz=rate)
            except CallError as error:
                unloaded = error.code == "NOT_FOUND" and version != self._version
                # Releases before 2026-11-25 take their own rate only.
                refused = error.code == "INVALID_ARGUMENT" and rate is None
                if not (unloaded or refused) or start == _MOST_STARTS:
                    raise
                version = self._version
                rate = songs.SETTINGS.sample_rate_hz if refused else rate
        raise AssertionError("the last start returns or raises")

    def _request(self, version: int | None) -> Any:
        request = _PREDICT.request()
        spec = request.model_spec
        spec.name, spec.signature_name = self._model, "classify_wav"
        if version is not None:
            spec.version.value = version
        elif self._label is not None:
            spec.version_label = self._label
        return request

    def _predict(self, wav: bytes, version: int | None) -> Answer:
        request = self._request(version)
        request.inputs["wav"].CopyFrom(encode_tensor([wav]))
        response = self._call(_PREDICT, request)
        outputs = {name: decode_tensor(tensor)[0] for name, tensor in response.outputs.items()}
        return Answer(response.model_spec.name, response.model_spec.version.value, outputs)

    def _call(self, method: Method, request: Any) -> Any:
        invoke = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            return invoke(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            raise explain(error, self._server, self._timeout_seconds) from error


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
    open_parts: OpenParts,
    ask: Callable[[bytes], Answer],
    *,
    name: str,
    sample_rate_hz: int | None = None,
) -> GenrePrediction:
    """Asks about a song's parts one after the other, as mono WAV of 16 bits.

    That is half the bytes of float32 samples, and what training saw.

    Args:
      open_parts: Opens the song.
      ask: Asks about a WAV file.
      name: What the song is called.
      sample_rate_hz: The rate to send; None for the song's own.

    Raises:
      UserError: The song cannot be read, or is silent.
    """
    lengths: list[int] = []
    answers: list[Answer | None] = []
    seconds = 0.0
    with open_parts(sample_rate_hz) as parts:
        rate = parts.sample_rate_hz
        for part in parts.samples:
            began = time.perf_counter()
            # Of a song that falls silent for minutes, a part may be of silence.
            silent = songs.is_silent(part, rate)
            answers.append(None if silent else ask(codec.encode_wav(part, rate)))
            seconds += time.perf_counter() - began
            lengths.append(round(len(part) * songs.SETTINGS.sample_rate_hz / rate))
    if not any(answers):
        raise UserError(
            f"{songs.printable(name)} is silent (nothing reaches {loudness.SILENCE_LUFS:g} LUFS): "
            "it has no genre"
        )
    return join_answers(name, lengths, answers, songs.SETTINGS, call_seconds=seconds)
