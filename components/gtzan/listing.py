"""Lists the audio files of a local folder at any depth, whatever bytes their names contain."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from components.audio import streaming
from components.common import foreign_json
from components.common.opening import NOT_REGULAR, open_regular
from components.gtzan import layout

MANIFEST = "sample.json"  # marks a folder of composed music, wherever it is copied


@dataclasses.dataclass(frozen=True)
class DataFile:
    """An audio file, or what cannot be read as one.

    Attributes:
      path: Relative to the data folder; bytes that are not UTF-8 are surrogates.
      size_bytes: Its size; 0 if unknown.
      changed: When it last changed, in seconds since 1970, of a file in an object store.
      problem: Why it cannot be read: a folder that is closed to this user, a pipe, socket or
        device; "" for a file.
    """

    path: str
    size_bytes: int
    changed: float = 0.0
    problem: str = ""


def is_audio(path: str) -> bool:
    """Tells whether a relative path has the name of an audio file that is not hidden."""
    return not layout.is_hidden(path) and path.lower().endswith(streaming.AUDIO_SUFFIXES)


def local_files(folder: str | Path) -> list[DataFile]:
    """Lists the audio files below a folder, sorted by path; links are followed, except in cycles.

    What a link leads to has each folder once: folders that link to each other have countless paths.

    Args:
      folder: The data folder.
    """
    folder = os.fspath(folder)
    return sorted(_below(folder, "", (os.path.realpath(folder),)), key=lambda file: file.path)


def is_composed(folder: str | Path) -> bool:
    """Tells whether the music of a local folder was composed by Gatefold."""
    try:
        with open_regular(Path(folder) / MANIFEST) as file:
            return is_manifest(file.read(foreign_json.MAX_BYTES + 1))
    except OSError:
        return False


def is_manifest(data: bytes) -> bool:
    """Tells whether a file's content is a manifest of `synthetic.write_sample`."""
    try:
        manifest = foreign_json.parse(data)
    except foreign_json.ForeignJsonError:
        return False
    return isinstance(manifest, dict) and "composer" in manifest


def _below(
    folder: str, prefix: str, above: tuple[str, ...], linked: set[str] | None = None
) -> Iterator[DataFile]:
    """Lists a folder, which is `linked` where its path goes through a link: with what folders."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or str(error)
        yield DataFile(prefix.rstrip("/"), 0, problem=f"the folder cannot be looked into: {reason}")
        return
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if layout.is_hidden(entry.name):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
            size = entry.stat().st_size
        except OSError:  # a link to itself, or to nothing; reading it reports the reason
            is_folder, is_file, size = False, True, 0
        if is_folder:
            real = os.path.realpath(entry.path)
            below = set() if linked is None and entry.is_symlink() else linked
            if real in above or (below is not None and real in below):
                continue
            if below is not None:
                below.add(real)
            yield from _below(entry.path, f"{path}/", (*above, real), below)
        elif is_audio(path):
            # To open a pipe would wait for its writer, and a device may never end.
            yield DataFile(path, size, problem="" if is_file else NOT_REGULAR)
