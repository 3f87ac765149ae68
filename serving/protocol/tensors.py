"""numpy arrays as TensorProto and back, as TensorFlow does it but without TensorFlow."""

import math
from typing import Any

import numpy as np

from serving.protocol.messages import message

# What a string takes beside its characters: numpy's pointer, Python's object, TensorFlow's string.
STRING_BYTES = 64
_MAX_RANK = 32  # numpy's

STRING = 7  # of tensorflow.DataType
# Values leave and enter a message through Python objects. In portions, they take little memory and
# other threads get their turn in between.
_VALUES_AT_ONCE = 65_536

# tensorflow.DataType number → (numpy dtype, the field that holds values one by one).
_TYPES: dict[int, tuple[Any, str]] = {
    1: (np.float32, "float_val"),
    2: (np.float64, "double_val"),
    3: (np.int32, "int_val"),
    4: (np.uint8, "int_val"),
    5: (np.int16, "int_val"),
    6: (np.int8, "int_val"),
    STRING: (object, "string_val"),
    9: (np.int64, "int64_val"),
    10: (np.bool_, "bool_val"),
    22: (np.uint32, "uint32_val"),
    23: (np.uint64, "uint64_val"),
}
_NUMBERS = {np.dtype(dtype): number for number, (dtype, _) in _TYPES.items() if number != STRING}
_NAMES = {1: "float", 3: "int32", 10: "bool", 2: "double"}


class TensorError(ValueError):
    """A TensorProto that does not hold what it says, or a type that cannot be sent."""


def type_name(number: int) -> str:
    """What TensorFlow's messages call a data type: "float" for 1, "string" for 7."""
    if number == STRING:
        return "string"
    if number in _NAMES:
        return _NAMES[number]
    known = _TYPES.get(number)
    return np.dtype(known[0]).name if known else f"DataType {number}"


def numpy_type(number: int) -> Any:
    """The numpy type of a TensorFlow data type (object for strings), or None if not served."""
    return _TYPES[number][0] if number in _TYPES else None


def encode_tensor(array: Any, *, as_fields: bool = False) -> Any:
    """A `tensorflow.TensorProto` of an array.

    Args:
      array: Numbers, or bytes and text (sent as UTF-8), as an array, a list or a scalar.
      as_fields: Write numbers one by one in the field of their type, as TF Serving answers,
        rather than as one block of bytes, which is faster to send.

    Raises:
      TensorError: TensorFlow has no such type.
    """
    values = np.asarray(array)
    if values.dtype.kind in "SUO":
        number = STRING
    elif values.dtype in _NUMBERS:
        number = _NUMBERS[values.dtype]
    else:
        raise TensorError(f"cannot send an array of this type. Received: {values.dtype}")
    proto = message("tensorflow.TensorProto")(dtype=number)
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    if number == STRING:
        # Not from `values`: numpy's fixed-width bytes drop trailing zeros.
        elements = np.asarray(array, dtype=object).ravel()
        proto.string_val.extend(
            item.encode() if isinstance(item, str) else bytes(item) for item in elements
        )
    elif as_fields:
        field, flat = getattr(proto, _TYPES[number][1]), values.ravel()
        for start in range(0, flat.size, _VALUES_AT_ONCE):
            field.extend(flat[start : start + _VALUES_AT_ONCE].tolist())
    else:
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        proto.tensor_content = little.tobytes()
    return proto


def tensor_shape(proto: Any, *, max_bytes: int | None = None) -> tuple[int, ...]:
    """The shape that a `tensorflow.TensorProto` claims, checked without unfolding its values.

    Args:
      proto: The message, of any pool.
      max_bytes: Refuse what would be larger than this once unfolded; a string counts as
        `STRING_BYTES`, whatever its length.

    Raises:
      TensorError: The shape is unknown or too large, or the type is not one that is served.
    """
    if proto.dtype not in _TYPES:
        raise TensorError(f"cannot read a tensor of this type. Received: DataType {proto.dtype}")
    if proto.tensor_shape.unknown_rank:
        raise TensorError("a tensor's shape must be known. Received: unknown rank")
    if len(proto.tensor_shape.dim) > _MAX_RANK:
        raise TensorError(
            f"a tensor has at most {_MAX_RANK} dimensions. Received: {len(proto.tensor_shape.dim)}"
        )
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise TensorError(f"a tensor's sizes must be known. Received: {list(shape)}")
    if max_bytes is not None and math.prod(shape) * _item_bytes(proto.dtype) > max_bytes:
        raise TensorError(f"the tensor is too large. Received: shape {list(shape)}")
    return shape


def decode_tensor(proto: Any, *, max_bytes: int | None = None) -> np.ndarray:
    """The array that a `tensorflow.TensorProto` holds: object dtype of bytes for strings.

    As in TensorFlow, fewer values than the shape asks for stand for repetitions of the last one,
    and none at all for zeros.

    Args:
      proto: The message, of any pool.
      max_bytes: As of `tensor_shape`.

    Raises:
      TensorError: The shape is unknown, too large or does not fit the values, or the type is not
        one that is served.
    """
    shape = tensor_shape(proto, max_bytes=max_bytes)
    dtype, field = _TYPES[proto.dtype]
    count = math.prod(shape)
    if proto.tensor_content and dtype is not object:
        content = proto.tensor_content
        item_bytes = _item_bytes(proto.dtype)
        if len(content) != count * item_bytes:
            raise TensorError(
                f"shape {list(shape)} needs {count * item_bytes} bytes. Received: {len(content)}"
            )
        if dtype is np.bool_:
            return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
        return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    values = getattr(proto, field)
    sent = len(values)
    if sent > count:
        raise TensorError(f"shape {list(shape)} needs {count} values. Received: {sent}")
    array = np.empty(count, dtype)
    for start in range(0, sent, _VALUES_AT_ONCE):
        stop = min(start + _VALUES_AT_ONCE, sent)
        array[start:stop] = values[start:stop]
    if sent < count:
        array[sent:] = values[-1] if sent else (b"" if dtype is object else 0)
    return array.reshape(shape)


def _item_bytes(number: int) -> int:
    return STRING_BYTES if number == STRING else int(np.dtype(_TYPES[number][0]).itemsize)
