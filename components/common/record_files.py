"""Checks the records that a node reads before it does: a cached file may be years old.

Readers pass over a missing file, and fail at a damaged one without its name.
"""

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c

from components.common import files
from components.common.errors import UserError
from components.common.storage import is_remote
from components.common.tracking import RUN_ID_VARIABLE

DAMAGED = ".damaged"

_EXAMPLES = "Examples"
_NUMBERED = re.compile(r"(.+)-\d{5}-of-(\d{5})(.*)")


def require_whole(artifacts: Iterable[Any]) -> None:
    """Checks that no record of `Examples` artifacts is missing or damaged.

    Every split must have all of its files. Those on a local disk are read as a whole; object stores
    compare checksums themselves.

    TFX's cache asks only whether an artifact's folder exists. So a local folder that is not whole
    is renamed, to end in `DAMAGED`, and the next run runs the node again that makes it.

    Args:
      artifacts: Artifacts of any type.

    Raises:
      UserError: A file is missing or damaged; the text names it.
    """
    for artifact in artifacts:
        if getattr(artifact, "TYPE_NAME", "") == _EXAMPLES:
            for fault in _faults(artifact):
                raise UserError(f"{fault}. {_have_made_anew(artifact.uri)}")


def _faults(artifact: Any) -> Iterator[str]:
    for split in artifact.splits:
        folder = f"{artifact.uri}/Split-{split}"
        names = files.names(folder) if files.exists(folder) else []
        numbered = [match for match in map(_NUMBERED.fullmatch, names) if match]
        if not names:
            yield f"{folder} is missing"
        for stem, count, suffix in {match.groups() for match in numbered}:
            complete = {f"{stem}-{index:05d}-of-{count}{suffix}" for index in range(int(count))}
            yield from (f"{folder}/{name} is missing" for name in sorted(complete - set(names)))
        if not is_remote(folder):
            yield from filter(None, (_damage(f"{folder}/{match[0]}") for match in numbered))


def _damage(file: str) -> str:
    """What is wrong with a TFRecord file; "" if nothing is."""
    number = 0
    try:
        with gzip.open(file) if file.endswith(".gz") else Path(file).open("rb") as content:
            # A record is its length (8 bytes) and the checksum of that (4), its data and checksum.
            while header := content.read(12):
                number += 1
                length = int.from_bytes(header[:8], "little")
                if _checksum(header[:8]) != header[8:]:
                    return f"{file} is damaged (length of record {number})"
                if _checksum(content.read(length)) != content.read(4):
                    return f"{file} is damaged (record {number})"
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"{file} is damaged ({error})"
    return ""


def _checksum(data: bytes) -> bytes:
    """TFRecord's: CRC-32C, rotated and moved so that data that holds checksums has others."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def _have_made_anew(uri: str) -> str:
    if os.environ.get(RUN_ID_VARIABLE):
        return "Compile with another --cache-epoch, which makes everything anew"
    if not is_remote(uri):
        with contextlib.suppress(OSError):  # another stage has done it, or the disk is read-only
            Path(uri).rename(f"{uri}{DAMAGED}")
        if not Path(uri).exists():
            return f"The next run makes it anew; what is left of it is in {uri}{DAMAGED}"
    return f"Remove {uri}: the next run makes it anew"
