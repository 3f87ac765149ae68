"""Bounds what a protobuf message becomes once it is parsed, before it is parsed.

Two bytes on the wire (an empty string of a repeated field) become some fifty in memory, so a
message within the size limit can still unfold to gigabytes, and protobuf parses it in one go. This
reads the wire format (https://protobuf.dev/programming-guides/encoding) only as far as lengths.
"""

from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

_FIELD_BYTES = 64  # an object, its pointer and its share of a container
_INTEGERS_A_FIELD = 8  # packed integers that take the parser as long as one field
_PORTION = 1 << 20
_VARINT, _FIXED64, _BYTES, _GROUP_START, _GROUP_END, _FIXED32 = range(6)
# Bytes of one parsed value, where a packed field holds variable-length integers.
_PACKED = {
    FieldDescriptor.CPPTYPE_BOOL: 1,
    FieldDescriptor.CPPTYPE_ENUM: 4,
    FieldDescriptor.CPPTYPE_INT32: 4,
    FieldDescriptor.CPPTYPE_INT64: 8,
    FieldDescriptor.CPPTYPE_UINT32: 4,
    FieldDescriptor.CPPTYPE_UINT64: 8,
}


class WireError(ValueError):
    """A message that would be too large once parsed."""


def check_parsed_size(data: bytes, descriptor: Any, *, max_fields: int, max_bytes: int) -> None:
    """Refuses a serialized message that is large once parsed.

    What is no message of the type passes: it is the parser's to refuse.

    Args:
      data: The serialized message.
      descriptor: Its type's descriptor.
      max_fields: Most values: fields, elements of repeated ones and, eight for one, integers that
        are packed. The parser lets no other thread run until it has read them all.
      max_bytes: Most bytes of the parsed message, by estimate.

    Raises:
      WireError: It is larger; the text says what was counted.
    """
    fields = size = 0
    parts = [(0, len(data), descriptor)]
    while parts:
        position, end, part = parts.pop()
        while position < end:
            tag, position = _read_varint(data, position, end)
            fields += 1
            size += _FIELD_BYTES
            kind, number = tag & 7, tag >> 3
            if kind == _VARINT:
                _, position = _read_varint(data, position, end)
            elif kind == _FIXED64:
                position += 8
            elif kind == _FIXED32:
                position += 4
            elif kind == _BYTES:
                length, position = _read_varint(data, position, end)
                field = part.fields_by_number.get(number)
                if length > end - position:
                    break  # cut off: the parser refuses it
                if field is not None and field.message_type is not None:
                    parts.append((position, position + length, field.message_type))
                elif field is not None and field.cpp_type in _PACKED:
                    integers = _count_varints(data, position, length)
                    fields += integers // _INTEGERS_A_FIELD
                    size += integers * _PACKED[field.cpp_type]
                else:
                    size += length
                position += length
            elif kind not in (_GROUP_START, _GROUP_END):
                break
            if fields > max_fields:
                raise WireError(f"it holds more than {max_fields} values")
            if size > max_bytes:
                raise WireError(f"it would take more than {max_bytes} bytes once read")


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The integer at `position`, and where it ends."""
    value = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            break
    return 0, end  # cut off or too long: ends this part, and the parser refuses it


def _count_varints(data: bytes, position: int, length: int) -> int:
    values = np.frombuffer(data, np.uint8, length, position)
    return sum(
        int(np.count_nonzero(values[start : start + _PORTION] < 0x80))
        for start in range(0, length, _PORTION)
    )
