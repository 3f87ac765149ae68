"""Bounds the fields of a protobuf message before it is parsed.

Two bytes on the wire (an empty string of a repeated field) become some fifty in memory, so 16 MiB
can become 400, and protobuf's parser, which has no limit for it, lets no other thread run for a
second meanwhile. This reads the wire format (https://protobuf.dev/programming-guides/encoding)
as far as lengths.
"""

from typing import Any

from google.protobuf.message import DecodeError

_VARINT, _FIXED64, _BYTES, _GROUP_START, _GROUP_END, _FIXED32 = range(6)
_SIZES = {_FIXED64: 8, _FIXED32: 4, _GROUP_START: 0, _GROUP_END: 0}


def parse(kind: Any, data: bytes, *, max_fields: int = 262_144) -> Any:
    """Parses a message of the class `kind`.

    Args:
      kind: The message's class.
      data: The serialized message.
      max_fields: Most fields, those of messages inside and elements of repeated ones included.

    Raises:
      ValueError: It has more fields, or is no such message.
    """
    name = kind.DESCRIPTOR.name
    fields = 0
    parts = [(0, len(data), kind.DESCRIPTOR)]
    while parts:
        position, end, descriptor = parts.pop()
        while position < end:
            fields += 1
            if fields > max_fields:
                raise ValueError(f"the {name} holds more than {max_fields} fields")
            tag, position = _read_varint(data, position, end)
            size = _SIZES.get(tag & 7)
            if size is None:  # an integer, or as many bytes as an integer says
                value, position = _read_varint(data, position, end)
                size = value if tag & 7 == _BYTES else 0
            field = descriptor.fields_by_number.get(tag >> 3)
            inside = tag & 7 == _BYTES and field is not None and field.message_type is not None
            if inside and size and position + size <= end:
                parts.append((position, position + size, field.message_type))
            position += size
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the request cannot be read as a {name}") from error


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The integer at `position`, and where it ends; what is cut off ends the part."""
    value = 0
    for shift in range(0, 64, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return 0, end
