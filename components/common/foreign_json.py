"""Parses JSON that others may have written or damaged, within bounds."""

from typing import Any

import orjson

MAX_BYTES = 16 << 20
MAX_DEPTH = 64  # deeper values exhaust the stack of whoever prints or compares them


class ForeignJsonError(ValueError):
    """Invalid JSON, or JSON beyond the bounds; the text says which, without naming the source."""


def parse(content: bytes) -> Any:
    """Parses JSON as RFC 8259 defines it: no NaN or infinity, no lone surrogates.

    Args:
      content: At most `MAX_BYTES` of UTF-8, nested at most `MAX_DEPTH` deep.

    Raises:
      ForeignJsonError: It is no such JSON.
    """
    if len(content) > MAX_BYTES:
        raise ForeignJsonError(f"it is larger than {MAX_BYTES >> 20} MiB")
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ForeignJsonError(f"it is not valid JSON ({error})") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise ForeignJsonError(f"it is nested over {MAX_DEPTH} deep")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
