"""Checks the records that a node reads before it does: a cached file may be years old.

Readers pass over a missing file, and fail at a damaged one without its name.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.common import files
from components.common.errors import UserError
from components.common.storage import is_remote
from components.common.tracking import RUN_ID_VARIABLE

DAMAGED = ".damaged"

_EXAMPLES = "Examples"
_NUMBERED = re.compile(r"(.+)-\d{5}-of-(\d{5})(.*)")


def require_whole(artifacts: Iterable[Any]) -> None:
    """Checks that no record of `Examples` artifacts is missing or damaged.

    Every split must have all of its files. Those on a local disk are read as a whole, about a
    second for 1000 tracks; object stores compare checksums themselves.

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
        if not names:
            yield f"{folder} is missing"
        yield from (f"{folder}/{name} is missing" for name in _missing(names))
        if not is_remote(folder):
            yield from (fault for name in names if (fault := _damage(f"{folder}/{name}")))


def _missing(names: list[str]) -> Iterator[str]:
    """Yields the other names of a numbered set of files that one of `names` belongs to."""
    for stem, count, suffix in {
        match.groups() for match in map(_NUMBERED.fullmatch, names) if match
    }:
        numbered = {f"{stem}-{index:05d}-of-{count}{suffix}" for index in range(int(count))}
        yield from sorted(numbered.difference(names))


def _damage(file: str) -> str:
    import tensorflow as tf

    compression = tf.io.TFRecordOptions("GZIP" if file.endswith(".gz") else "")
    try:
        # Unlike tf.data it leaves devices alone, which a strategy of several workers sets up.
        for _ in tf.compat.v1.io.tf_record_iterator(file, compression):
            pass
    except tf.errors.DataLossError as error:
        return f"{file} is damaged ({error.message})"
    return ""


def _have_made_anew(uri: str) -> str:
    if os.environ.get(RUN_ID_VARIABLE):
        return "Compile with another --cache-epoch, which makes everything anew"
    if not is_remote(uri):
        with contextlib.suppress(OSError):  # another stage has done it, or the disk is read-only
            Path(uri).rename(f"{uri}{DAMAGED}")
        if not Path(uri).exists():
            return f"The next run makes it anew; what is left of it is in {uri}{DAMAGED}"
    return f"Remove {uri}: the next run makes it anew"
