"""Files on a local disk or in an object store. Loads TensorFlow (8 s) for object stores only.

Commands that mostly meet local folders use it, so that they start at once.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from components.common.opening import open_regular
from components.common.storage import is_remote

_BLOCK_BYTES = 1 << 20


def exists(path: str) -> bool:
    """Whether there is a file or folder; in object stores a folder exists if it holds a file."""
    return bool(_fileio().exists(path)) if is_remote(path) else Path(path).exists()


def names(folder: str) -> list[str]:
    """Names of the files and folders in a folder, in order."""
    listed = _fileio().listdir(folder) if is_remote(folder) else os.listdir(folder)  # noqa: PTH208
    return sorted(str(name).rstrip("/") for name in listed)


def files_below(folder: str) -> Iterator[str]:
    """Paths, relative to a folder, of all files below it; in no order."""
    folder = folder.rstrip("/")
    places = _fileio().walk(folder) if is_remote(folder) else os.walk(folder)
    for place, _, file_names in places:
        for name in file_names:
            yield f"{str(place).rstrip('/')}/{name}"[len(folder) :].lstrip("/")


def open_file(path: str, mode: str = "rb") -> IO[Any]:
    """Opens a file; text is UTF-8. An object store shows a written file once it is closed."""
    if is_remote(path):
        return _fileio().open(path, mode)
    if mode == "rb":
        return open_regular(path)
    return Path(path).open(mode, encoding=None if "b" in mode else "utf-8")


def read_bytes(path: str, max_bytes: int) -> bytes:
    """Reads a file up to `max_bytes`."""
    with open_file(path) as file:
        return bytes(file.read(max_bytes))


def write(path: str, text: str) -> None:
    """Writes a small text file, over one that is there already; makes its folder."""
    if is_remote(path):
        with _fileio().open(path, "w") as file:
            file.write(text)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def copy(source: str, target: str) -> None:
    """Copies a file, over one that is there already; makes the target's folder."""
    _fileio().makedirs(target.rpartition("/")[0])
    _fileio().copy(source, target, overwrite=True)


def sha256(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def remove(path: str) -> None:
    """Removes a file, if it is there."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
    elif _fileio().exists(path):
        _fileio().remove(path)


def write_synced(path: Path, data: bytes) -> None:
    """Writes a local file, and its folder where that is missing; it is on the disk on return."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until a local folder's entries (new files, renames) are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store_errors() -> tuple[type[Exception], ...]:
    """What reading or writing an object store may raise."""
    import tensorflow as tf

    return OSError, tf.errors.OpError


def _fileio() -> Any:
    from tfx.dsl.io import fileio

    return fileio
