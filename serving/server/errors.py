"""Errors that a caller sees, and the one place that says which status an exception becomes."""

import logging
import re
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

_LOG = logging.getLogger("gatefold.serving")

# TF Serving's mapping (http_server.cc, ToHTTPStatusCode).
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# gRPC sends a sentence as a header, three letters for a byte that is not ASCII, and its clients
# refuse headers of 8 KiB.
_MOST_TEXT_BYTES = 1000
_MOST_NAME_LETTERS = 200
_GRAPH_PREFIX = "Graph execution error:\n\n"
_ASSERTION = re.compile(r"assertion failed: \[([^\]]*)\]")
_FORMATS = {
    b"ID3": "an MP3",
    b"\xff\xfb": "an MP3",
    b"\xff\xf3": "an MP3",
    b"\xff\xf2": "an MP3",
    b"fLaC": "a FLAC",
    b"OggS": "an Ogg file",
    b"FORM": "an AIFF",
    b".snd": "an AU",
    b"RIFF": "a RIFF file that is not a readable WAV",
}


class ServingError(Exception):
    """A call that cannot be answered.

    Attributes:
      code: The gRPC status code.
      text: What is wrong, for the caller: at most 1,000 bytes and an ellipsis.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        encoded = text[:_MOST_TEXT_BYTES].encode(errors="backslashreplace")[:_MOST_TEXT_BYTES]
        beginning = encoded.decode(errors="ignore")
        self.code = code
        self.text = text if len(text) <= len(beginning) else f"{beginning}…"
        super().__init__(self.text)

    @property
    def http_status(self) -> int:
        """The HTTP status that TF Serving answers for this code."""
        return _HTTP_STATUS.get(self.code, 500)


def invalid(text: str) -> ServingError:
    """An INVALID_ARGUMENT error."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> ServingError:
    """A NOT_FOUND error."""
    return ServingError(grpc.StatusCode.NOT_FOUND, text)


def short(name: str) -> str:
    """The beginning of a name that a caller sent, for a sentence or a log."""
    return name if len(name) <= _MOST_NAME_LETTERS else f"{name[:_MOST_NAME_LETTERS]}…"


def from_exception(error: BaseException) -> ServingError:
    """The error to answer with for whatever was raised.

    TensorFlow's errors carry a canonical code and a message; what is unknown is INTERNAL.
    """
    if isinstance(error, ServingError):
        return error
    number, text = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(number, int) and isinstance(text, str):
        return ServingError(_CODES.get(number, grpc.StatusCode.UNKNOWN), _sentence(text))
    if isinstance(error, MemoryError):
        return ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "there is not enough memory")
    if isinstance(error, OSError) and error.errno is None:  # TensorFlow's "this is no SavedModel"
        return ServingError(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    if isinstance(error, OSError):
        return ServingError(grpc.StatusCode.UNAVAILABLE, str(error))
    return ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def from_call(error: BaseException) -> ServingError:
    """The error to answer a call with; what is unknown is a fault of the server's, and logged.

    It is a new one, whose traceback keeps no request in memory.
    """
    answer = from_exception(error)
    if answer.code is grpc.StatusCode.INTERNAL and answer is not error:
        _LOG.error("a call failed", exc_info=error)
    return ServingError(answer.code, answer.text)


def from_run(error: BaseException, inputs: Mapping[str, np.ndarray]) -> ServingError:
    """The error to answer with for what a graph raised when it ran on a caller's inputs.

    A graph quotes the caller's bytes in its message, which TensorFlow's Python then fails to decode
    (UnicodeDecodeError): that too says that the input could not be read.
    """
    if isinstance(error, UnicodeDecodeError):
        text = bytes(error.object).decode(errors="backslashreplace")
        answer = invalid(_sentence(text))
    else:
        answer = from_call(error)
    if answer.code is not grpc.StatusCode.INVALID_ARGUMENT:
        return answer
    for name, array in inputs.items():
        if array.dtype == object:
            formats = {_format_of(value) for value in array.ravel()} - {""}
            if name == "wav" and formats:
                return invalid(f"input wav holds {' and '.join(sorted(formats))}: send WAV")
            if isinstance(error, UnicodeDecodeError):
                return invalid(f"input {short(name)} cannot be read as the model expects it")
    return answer


def _sentence(text: str) -> str:
    """A graph's message without what TensorFlow puts around it."""
    text = text.removeprefix(_GRAPH_PREFIX).partition("\n\t [[{{node")[0]
    asserted = _ASSERTION.fullmatch(text)
    return asserted[1] if asserted else text


def _format_of(value: Any) -> str:
    """What a file that is no WAV is by its first bytes; "" for a WAV header."""
    if value[:4] == b"RIFF" and value[8:16] == b"WAVEfmt ":
        return ""
    names = (name for start, name in _FORMATS.items() if value.startswith(start))
    return next(names, "bytes of an unknown format" if value else "an empty file")
