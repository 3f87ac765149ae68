"""Lists the audio files of a local folder at any depth, whatever bytes their names contain."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from components.audio import streaming
from components.gtzan import layout


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """An audio file, or a folder that cannot be looked into.

    Attributes:
      path: Relative to the data folder; bytes that are not UTF-8 are surrogates.
      size_bytes: Its size; 0 if unknown.
      problem: Why a folder cannot be looked into, "" for a file.
    """

    path: str
    size_bytes: int
    problem: str = ""


def is_audio(path: str) -> bool:
    """Tells whether a relative path has the name of an audio file that is not hidden."""
    return not layout.is_hidden(path) and path.lower().endswith(streaming.AUDIO_SUFFIXES)


def local_files(folder: str | Path) -> list[LocalFile]:
    """Lists the audio files below a folder, sorted by path; links are followed, except in cycles.

    Args:
      folder: The data folder.
    """
    folder = os.fspath(folder)
    return sorted(_below(folder, "", (os.path.realpath(folder),)), key=lambda file: file.path)


def _below(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[LocalFile]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        yield LocalFile(prefix.rstrip("/"), 0, error.strerror or str(error))
        return
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if layout.is_hidden(entry.name):
            continue
        if _is_folder(entry):
            real = os.path.realpath(entry.path)
            if real not in above:
                yield from _below(entry.path, f"{path}/", (*above, real))
        elif is_audio(path):
            yield LocalFile(path, _size(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it reports the reason
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # reading it reports the reason
        return 0
