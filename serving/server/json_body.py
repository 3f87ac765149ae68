"""Reads JSON in portions: bounded in memory, and never long without letting other threads run.

`json.loads` reads a body in one go, which keeps every other thread waiting, and makes an object of
32 bytes of each number. A request's numbers are samples, up to millions in one list: here they
become an array as they are read.
"""

import dataclasses
import json
import re
from typing import Any, NoReturn

import numpy as np

MAX_DEPTH = 33  # the document, and as many lists as numpy has dimensions
MOST_ELEMENTS = 262_144  # lists, objects, texts and what stands between them; not runs of numbers
_PORTION = 65_536  # characters
_LONG = 4096  # numbers; a shorter list stays one

_decode = json.JSONDecoder().raw_decode
_blank = re.compile(r"[ \t\n\r]*").match
_structure = re.compile(r'[\[\]{}"]').search
_control = re.compile(r"[\x00-\x1f]").search
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_written = re.compile(  # a part of a text, without half an escape at its end
    rf'(?:[^"\\]+|{_HIGH}{_LOW}|(?!{_HIGH})\\u[0-9a-fA-F]{{4}}|\\[^u])*'
).match
_SCALARS = {int, float}
_LARGEST_INTEGER = 2**63 - 1


class JsonError(ValueError):
    """What is no JSON, or too much of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """A long list of numbers.

    Attributes:
      values: int64 [count] where all were written as integers, else float64 [count].
      integers: Whether all were written as integers.
      largest_integer: The largest magnitude of those that were.
    """

    values: np.ndarray
    integers: bool
    largest_integer: int

    def __len__(self) -> int:
        return len(self.values)


def parse(body: bytes | bytearray, *, most_numbers: int = 1 << 24) -> Any:
    """The value that a JSON document stands for; a long list of numbers as `Numbers`.

    As TF Serving's parser, it takes NaN and Infinity and refuses half a surrogate pair.

    Args:
      body: The document.
      most_numbers: Most numbers in all of its lists.

    Raises:
      JsonError: It cannot be read, is nested over 33 deep, or has too many elements.
    """
    if not body or body.isspace():
        raise JsonError("The document is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"The text is not UTF-8 ({error.reason})") from error
    del body
    reader = Reader(text, most_numbers)
    value, end = reader.value(_skip(text, 0), 0)
    end = _skip(text, end)
    if end != len(text):
        _fail(f"Extra data at character {end}")
    return value


def _fail(why: str) -> NoReturn:
    raise JsonError(why)


def _skip(text: str, position: int) -> int:
    match = _blank(text, position)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


class Reader:
    """Reads values at positions of a text."""

    def __init__(self, text: str, most_numbers: int) -> None:
        self._text = text
        self._numbers_left = most_numbers
        self._elements = 0

    def value(self, position: int, depth: int) -> tuple[Any, int]:
        """The value at `position`, and where it ends."""
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            _fail(f"The document has more than {MOST_ELEMENTS} elements")
        first = self._text[position : position + 1]
        if first in ("[", "{"):
            if depth >= MAX_DEPTH:
                _fail(f"The document is nested more than {MAX_DEPTH} deep")
            return (self._list if first == "[" else self._object)(position + 1, depth + 1)
        if first == '"':
            return self._string(position + 1)
        try:
            return _decode(self._text, position)
        except ValueError as error:
            _fail(str(error))

    def _string(self, position: int) -> tuple[str, int]:
        text = self._text
        end = text.find('"', position)
        if end < 0:
            _fail(f"Unterminated string starting at character {position - 1}")
        if text.find("\\", position, end) >= 0:
            return self._escaped_string(position)
        for start in range(position, end, _PORTION):
            if control := _control(text, start, min(start + _PORTION, end)):
                _fail(f"Invalid control character at character {control.start()}")
        return text[position:end], end + 1

    def _escaped_string(self, position: int) -> tuple[str, int]:
        text, parts = self._text, []
        while text[position : position + 1] != '"':
            match = _written(text, position, position + _PORTION)
            assert match is not None, "the pattern matches nothing, too"
            if not match[0]:
                surrogate = text[position : position + 3].lower() == "\\ud"
                _fail(
                    "The surrogate pair in string is invalid."
                    if surrogate
                    else f"Invalid escape or end of a string at character {position}"
                )
            try:
                part = json.loads(f'"{match[0]}"')
                if not part.isascii():
                    part.encode()
            except UnicodeEncodeError:
                _fail("The surrogate pair in string is invalid.")
            except ValueError as error:
                _fail(str(error))
            parts.append(part)
            position = match.end()
        return "".join(parts), position + 1

    def _object(self, position: int, depth: int) -> tuple[dict[str, Any], int]:
        text = self._text
        members: dict[str, Any] = {}
        position = _skip(text, position)
        if text[position : position + 1] == "}":
            return members, position + 1
        while True:
            if text[position : position + 1] != '"':
                _fail(f"Missing a name for object member at character {position}")
            name, position = self.value(position, depth)
            position = _skip(text, position)
            if text[position : position + 1] != ":":
                _fail(f"Missing a colon after a name of object member at character {position}")
            members[name], position = self.value(_skip(text, position + 1), depth)
            position = _skip(text, position)
            if text[position : position + 1] == "}":
                return members, position + 1
            position = self._comma(position, "object member")

    def _comma(self, position: int, what: str) -> int:
        if self._text[position : position + 1] != ",":
            _fail(f"Missing a comma after an {what} at character {position}")
        return _skip(self._text, position + 1)

    def _list(self, position: int, depth: int) -> tuple[Any, int]:
        numbers = _NumberList()
        text, position = self._text, _skip(self._text, position)
        if text[position : position + 1] == "]":
            return [], position + 1
        while True:  # as long as there are numbers and nothing else
            end = position + _PORTION
            bracket = _structure(text, position, end)
            if bracket is None:
                cut = text.rfind(",", position, end)
                if cut < 0:
                    break
            elif bracket[0] == "]":
                cut = bracket.start()
            else:
                break
            added = numbers.add(text[position:cut])
            if not added:
                break
            self._numbers_left -= added
            if self._numbers_left < 0:
                _fail("The document has too many numbers")
            position = cut + 1
            if bracket is not None:
                return numbers.value(), position
        values = numbers.as_list()
        while True:
            value, position = self.value(_skip(text, position), depth)
            values.append(value)
            position = _skip(text, position)
            if text[position : position + 1] == "]":
                return values, position + 1
            position = self._comma(position, "array element")


class _NumberList:
    """Portions of a list of numbers."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._short: list[Any] = []
        self._integers = True
        self._largest = 0

    def add(self, text: str) -> int:
        """Adds numbers with commas between them. Returns how many; 0 for something else."""
        try:
            values = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            return 0
        kinds = set(map(type, values))
        if not values or not kinds <= _SCALARS:
            return 0
        if int in kinds:
            integers = values if kinds == {int} else [v for v in values if type(v) is int]
            self._largest = max(self._largest, abs(max(integers)), abs(min(integers)))
        if self._largest > _LARGEST_INTEGER:
            return 0
        self._integers = self._integers and kinds == {int}
        if not self._parts and not self._short and len(values) < _LONG:
            self._short = values
            return len(values)
        for portion in (self._short, values):
            if portion:
                dtype = np.int64 if set(map(type, portion)) == {int} else np.float64
                self._parts.append(np.array(portion, dtype))
        self._short = []
        return len(values)

    def value(self) -> Any:
        """All of them: a list where they are few."""
        if not self._parts:
            return self._short
        return Numbers(np.concatenate(self._parts), self._integers, self._largest)

    def as_list(self) -> list[Any]:
        """All of them as a list, to which something else is added."""
        if not self._parts:
            return self._short
        values = np.concatenate(self._parts)
        if len(values) > MOST_ELEMENTS:
            _fail(f"The document has more than {MOST_ELEMENTS} elements")
        return list(values.tolist())
