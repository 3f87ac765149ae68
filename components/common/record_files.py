"""Finds TFRecord files that lost their end: a disk that filled up, a copy that broke off.

Every reader fails at such a file, and none names it.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.common.errors import UserError
from components.common.storage import is_remote

_EXAMPLES = "Examples"
_LENGTH = struct.Struct("<Q")
# A record is its length (8 bytes) with a checksum (4), and its data with a checksum (4).
_HEADER_BYTES, _FOOTER_BYTES = 12, 4


def require_whole(artifacts: Iterable[Any]) -> None:
    """Checks the uncompressed record files of `Examples` artifacts on local disks.

    Reads the lengths of the records and nothing else, so it takes about a second for a million.

    Args:
      artifacts: Artifacts of any type.

    Raises:
      UserError: A file ends within a record; the text names it.
    """
    for artifact in artifacts:
        if getattr(artifact, "TYPE_NAME", "") != _EXAMPLES or is_remote(artifact.uri):
            continue
        for file in _files(Path(artifact.uri)):
            records = whole_records(file)
            if records is not None:
                raise UserError(
                    f"{file} is cut off after {records} records. Restore it, or remove the "
                    "metadata store (metadata.db in the output folder): the next run then makes "
                    "everything anew"
                )


def whole_records(file: Path) -> int | None:
    """The number of records before the place where a TFRecord file is cut off; None if it is whole.

    Args:
      file: An uncompressed file.
    """
    size, place, records = file.stat().st_size, 0, 0
    with file.open("rb", buffering=0) as content:
        while place < size:
            content.seek(place)
            header = content.read(_HEADER_BYTES)
            if len(header) < _HEADER_BYTES:
                return records
            place += _HEADER_BYTES + _LENGTH.unpack_from(header)[0] + _FOOTER_BYTES
            if place > size:
                return records
            records += 1
    return None


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("Split-*/*")):
        if file.is_file() and file.suffix != ".gz" and "tfrecord" in file.name:
            yield file
