"""Errors that a caller sees: a canonical status code and a sentence."""

import grpc

_PYTHON_PREFIX = (
    "Graph execution error:\n\n"  # put before a graph's own words by TensorFlow's Python
)

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# TF Serving's mapping (http_server.cc, ToHTTPStatusCode).
HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
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


# gRPC sends a sentence as a header, in three letters for a byte that is not ASCII, and its clients
# refuse headers of 8 KiB.
_MOST_TEXT_BYTES = 1000
_MOST_NAME_LETTERS = 200


def short(name: str) -> str:
    """The beginning of a name that a caller sent, for a sentence or a log."""
    return name if len(name) <= _MOST_NAME_LETTERS else f"{name[:_MOST_NAME_LETTERS]}…"


class ServingError(Exception):
    """A call that cannot be answered.

    Attributes:
      code: The gRPC status code.
      text: What is wrong, for whoever sent it: at most 1,000 bytes and an ellipsis.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        beginning = text[:_MOST_TEXT_BYTES].encode(errors="backslashreplace")[:_MOST_TEXT_BYTES]
        if len(text) > len(cut := beginning.decode(errors="ignore")):
            text = f"{cut}…"
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def http_status(self) -> int:
        """The HTTP status that TF Serving answers for this code."""
        return HTTP_STATUS.get(self.code, 500)


def invalid(text: str) -> ServingError:
    """An INVALID_ARGUMENT error."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(text: str) -> ServingError:
    """A NOT_FOUND error."""
    return ServingError(grpc.StatusCode.NOT_FOUND, text)


def _without_place(text: str) -> str:
    """TensorFlow's sentence without the names of the graph's nodes that follow it."""
    return text.partition("\n\t [[{{node")[0]


def from_exception(error: BaseException) -> ServingError:
    """The error to answer with for whatever was raised while a model loaded or ran.

    TensorFlow's errors carry a canonical code and a message; anything else is INTERNAL.
    """
    if isinstance(error, ServingError):
        return error
    number, text = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(number, int) and isinstance(text, str):
        return ServingError(
            _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN),
            _without_place(text.removeprefix(_PYTHON_PREFIX)),
        )
    if isinstance(error, MemoryError):
        return ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "there is not enough memory")
    if isinstance(error, OSError) and error.errno is None:  # TensorFlow's "this is no SavedModel"
        return ServingError(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    if isinstance(error, OSError):
        return ServingError(grpc.StatusCode.UNAVAILABLE, str(error))
    return ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
