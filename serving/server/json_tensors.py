"""JSON values as arrays and back, in the rules of TF Serving's util/json_tensor.cc."""

import base64
import binascii
import itertools
import json
import math
import string
from typing import Any

import grpc
import numpy as np

from serving.protocol.tensors import STRING_BYTES, numpy_type, type_name
from serving.server import json_body
from serving.server.status import ServingError, invalid

_STRING, _BOOL = 7, 10  # numbers of tensorflow.DataType
_EXACT_INTEGERS = {1: 2**24 - 1, 2: 2**53 - 1}  # float32 and float64 hold integers so far
_INTEGERS = (3, 4, 5, 6, 9, 22, 23)
_MOST_SHOWN = 200  # characters of a value in an error
_PORTION = 4096
_PORTION_LETTERS = 262_144
_BASE64 = (string.ascii_letters + string.digits + "+/").encode()
_encoder = json.JSONEncoder(ensure_ascii=False)


def array_of(value: Any, info: Any, *, max_bytes: int | None = None) -> np.ndarray:
    """The array that a JSON value stands for.

    Args:
      value: Nested lists of equal lengths, as `json_body.parse` gives them, or one value.
      info: The input's TensorInfo.
      max_bytes: Refuse what would be larger as an array; a string counts as `STRING_BYTES`.

    Raises:
      ServingError: It is none, is too large, or not of the input's type.
    """
    dtype = info.dtype
    target = numpy_type(dtype)
    if target is None:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {show(value)} to type: {type_name(dtype)}",
        )
    shape = _shape(value)
    # Of what is there: the shape is that of the first lists, and ragged lists may hold far less.
    count = _count(value)
    item_bytes = STRING_BYTES if dtype == _STRING else np.dtype(target).itemsize
    if max_bytes is not None and count * item_bytes > max_bytes:
        raise invalid(f"the input is too large. Received: {count} values")
    array = np.empty(count, target)
    _fill(value, 0, shape, dtype, array, 0)
    return array.reshape(shape)


def _count(value: Any) -> int:
    if isinstance(value, json_body.Numbers):
        return len(value)
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _shape(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list | json_body.Numbers):
        shape.append(len(value))
        if not len(value) or isinstance(value, json_body.Numbers):
            break
        value = value[0]
    return tuple(shape)


def _fill(
    value: Any, level: int, shape: tuple[int, ...], dtype: int, array: np.ndarray, position: int
) -> int:
    """Writes the leaves of `value` into the flat `array`; returns where it ended."""
    if not isinstance(value, list | json_body.Numbers):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        array[position] = _leaf(value, dtype)
        return position + 1
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if isinstance(value, json_body.Numbers):
        if level != len(shape) - 1:
            raise invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 2} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        array[position : position + len(value)] = _numbers(value, dtype)
        return position + len(value)
    for item in value:
        position = _fill(item, level + 1, shape, dtype, array, position)
    return position


def _numbers(numbers: json_body.Numbers, dtype: int) -> np.ndarray:
    """A long list's values, checked as `_leaf` checks one."""
    values = numbers.values
    if dtype in _EXACT_INTEGERS:
        if numbers.largest_integer > _EXACT_INTEGERS[dtype]:
            raise _lossy(numbers.largest_integer, dtype)
        large = np.abs(values) > np.finfo(numpy_type(dtype)).max
        if np.any(large & np.isfinite(values)):
            raise _lossy(float(values[large][0]), dtype)
        return values
    if dtype not in _INTEGERS or not numbers.integers:
        raise _type_error(values[0].item(), dtype)
    for value in (int(values.min()), int(values.max())):
        if not _fits(value, dtype):
            raise _type_error(value, dtype)
    return values


def _fits(value: int, dtype: int) -> bool:
    limits = np.iinfo(numpy_type(dtype))
    return bool(limits.min <= value <= limits.max)


def _leaf(value: Any, dtype: int) -> Any:
    """One value of a tensor, in TF Serving's rules."""
    if dtype == _STRING:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            return decode_base64(value)
    elif isinstance(value, bool):
        if dtype == _BOOL:
            return value
    elif isinstance(value, int) and dtype in _INTEGERS:
        if _fits(value, dtype):
            return value
    elif isinstance(value, int | float) and dtype in _EXACT_INTEGERS:
        if isinstance(value, int):
            if abs(value) > _EXACT_INTEGERS[dtype]:
                raise _lossy(value, dtype)
        elif math.isfinite(value) and abs(value) > np.finfo(numpy_type(dtype)).max:
            raise _lossy(value, dtype)
        return value
    raise _type_error(value, dtype)


def _type_error(value: Any, dtype: int) -> ServingError:
    kinds = {str: "String", dict: "Object", bool: str(value), type(None): "Null"}
    return invalid(
        f"JSON Value: {show(value)} Type: {kinds.get(type(value), 'Number')} "
        f"is not of expected type: {type_name(dtype)}"
    )


def _lossy(value: float, dtype: int) -> ServingError:
    return invalid(
        f"Cannot convert JSON value: {show(value)} to {type_name(dtype)} without loss of precision."
    )


def decode_base64(value: Any) -> bytes:
    """The bytes of {"b64": …}; as TF Serving, it takes blanks and does without padding."""
    if not is_base64(value):
        raise invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    text = value["b64"]
    # In portions, between which other threads run: a song's WAV has millions of letters.
    decoded, rest, ended = [], b"", False
    try:
        for start in range(0, len(text), _PORTION_LETTERS):
            letters = _letters(text[start : start + _PORTION_LETTERS])
            data = letters.rstrip(b"=")
            if (ended and data) or data.translate(None, _BASE64):
                raise invalid("Unable to base64 decode")
            ended = ended or len(data) < len(letters)
            data = rest + data
            whole = len(data) - len(data) % 4
            decoded.append(binascii.a2b_base64(data[:whole]))
            rest = data[whole:]
        decoded.append(binascii.a2b_base64(rest + b"=" * (-len(rest) % 4)))
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error
    return b"".join(decoded)


def _letters(text: str) -> bytes:
    """A text of base64 without its blanks."""
    data = text.encode("ascii") if text.isascii() else "".join(text.split()).encode("ascii")
    return b"".join(data.split()) if data.translate(None, _BASE64 + b"=") else data


def to_json(name: str, array: np.ndarray) -> Any:
    """The JSON value of an output; as {"b64": "…"} where its name ends in `_bytes`."""
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = [
            {"b64": base64.b64encode(item).decode()}
            if as_bytes
            else item.decode("utf-8", "replace")
            for item in array.ravel()
        ]
        boxed = np.empty(len(texts), object)
        boxed[:] = texts
        return boxed.reshape(array.shape).tolist()
    if array.dtype == np.float32:
        return _short_floats(array.ravel()).reshape(array.shape).tolist()
    return array.tolist()


def _short_floats(values: np.ndarray) -> np.ndarray:
    """float32 [n] as those float64 that are written as short: 0.2, not 0.20000000298023224."""
    short = np.empty(len(values), np.float64)
    for start in range(0, len(values), _PORTION):  # other threads get their turn in between
        part = slice(start, start + _PORTION)
        short[part] = values[part].astype(str).astype(np.float64)
    return short


def show(value: Any) -> str:
    """The beginning of a value's JSON, for an error."""
    text = _encoder.encode(_beginning(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _beginning(value: Any) -> Any:
    """A value cut to what can be shown of it."""
    if isinstance(value, json_body.Numbers):
        return value.values[:_MOST_SHOWN].tolist()
    if isinstance(value, list):
        return [_beginning(item) for item in value[:_MOST_SHOWN]]
    if isinstance(value, dict):
        return {
            name[:_MOST_SHOWN]: _beginning(value[name])
            for name in itertools.islice(value, _MOST_SHOWN)
        }
    return value[:_MOST_SHOWN] if isinstance(value, str) else value


def is_base64(value: Any) -> bool:
    """Whether a JSON value is bytes: {"b64": "…"}."""
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)
