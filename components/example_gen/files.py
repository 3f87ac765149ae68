"""Finds, reads and hashes files on every file system that Beam knows: local, gs:// and s3://."""

import dataclasses
import hashlib
import posixpath
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import IO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.audio import codec, streaming
from components.common.errors import UserError, causes
from components.common.opening import open_regular
from components.common.storage import is_remote
from components.example_gen.settings import IngestSettings
from components.gtzan import layout, listing
from components.gtzan.listing import DataFile


class IngestError(UserError):
    """The data cannot be ingested; the message tells the user why.

    Its page is the ingest report, if the run got that far.
    """

    def __init__(self, message: str, *, page: str = ""):
        super().__init__(message, page=page, page_name="ingest.html")


_CHANGED = "changed while the music was being ingested"


def changed(path: str, reason: str) -> IngestError:
    """Makes the error for a file of the data that is no longer what it was when examined."""
    return IngestError(
        f"{layout.printable(path)} {_CHANGED} ({reason}). Run again once nothing writes there"
    )


def changed_error(error: BaseException) -> IngestError | None:
    """Finds an error of `changed` among an error and its causes; None if there is none.

    Of what its workers raise, Beam may hand on the text alone.
    """
    for cause in causes(error):
        for line in str(cause).splitlines():
            if _CHANGED in line:
                sentence = line.partition("IngestError: ")[2] or line
                return IngestError(sentence.partition(" [while running")[0])
    return None


def open_file_systems() -> None:
    """Lets Beam read object stores outside a pipeline, which would otherwise set their options."""
    FileSystems.set_options(PipelineOptions([]))


def absolute(uri: str) -> str:
    """Makes a local path absolute, for workers elsewhere, and drops a trailing slash."""
    if not is_remote(uri):
        uri = str(Path(uri).expanduser().absolute())
    return uri.rstrip("/") or "/"


def quoted(path: str) -> str:
    """Escapes a path so that it matches only itself as a pattern."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in path)


@dataclasses.dataclass(frozen=True)
class Music:
    """The audio files of a data folder.

    Attributes:
      folder: The genre folders' parent: the data folder or one of `layout.ROOTS` below it.
      files: Every audio file below it, by path, which is relative to `folder`; those with a problem
        are not to be opened.
    """

    folder: str
    files: tuple[DataFile, ...]


def find_tracks(data: str, genres: Sequence[str]) -> Music:
    """Finds the folder of the genre folders and the audio files below it.

    Raises:
      IngestError: There is no audio file in any genre folder.
    """
    data = absolute(data)
    listed_files = _list(data)
    root = layout.find_root([file.path for file in listed_files if not file.problem], genres)
    if root is None:
        unreadable = next((file for file in listed_files if file.problem), None)
        if unreadable:
            raise IngestError(
                f"there is nothing to read ({unreadable.problem}). "
                f"Received: {layout.printable(f'{data}/{unreadable.path}'.rstrip('/'))}"
            )
        raise IngestError(
            f"no audio files ({', '.join(streaming.SUFFIXES)} …) in folders named after the genres "
            f"({', '.join(genres)}). Received: {data}"
        )
    prefix = f"{root}/" if root else ""
    return Music(
        folder=f"{data.rstrip('/')}/{root}".rstrip("/"),
        files=tuple(
            dataclasses.replace(file, path=file.path.removeprefix(prefix))
            for file in listed_files
            if file.path.startswith(prefix)
        ),
    )


def audio_paths(data: str) -> list[str]:
    """Lists the relative paths of the audio files at any depth."""
    return [file.path for file in _list(absolute(data)) if not file.problem]


def is_composed(data: str) -> bool:
    """Tells whether the music of a folder was composed by Gatefold."""
    if not is_remote(data):
        return listing.is_composed(data)
    path = f"{data.rstrip('/')}/{listing.MANIFEST}"
    return FileSystems.exists(path) and listing.is_manifest(read(path))


def matched(path: str) -> list[DataFile]:
    """Finds a file that the user named, or the files in a folder, by path.

    Raises:
      IngestError: There is no such file or folder.
    """
    pattern = quoted(absolute(path))
    files = [
        file
        for file in _match(pattern, f"{pattern}/*")
        if is_remote(file.path) or not Path(file.path).is_dir()
    ]
    if not files:
        raise IngestError(f"there is no such file or folder. Received: {path}")
    return files


def open_file(path: str) -> IO[bytes]:
    """Opens a file to read; every file of the data is opened here.

    Raises:
      OSError: It cannot be opened, or is a pipe, a socket or a device. Each object store raises
        errors of its own.
    """
    if is_remote(path):
        opened: IO[bytes] = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
        return opened
    return open_regular(path)


def read(path: str) -> bytes:
    """Reads a file, of a larger one `codec.MAXIMUM_BYTES` + 1 bytes, which show that it is one."""
    with open_file(path) as file:
        return file.read(codec.MAXIMUM_BYTES + 1)


def read_text(path: str) -> str:
    """Reads a UTF-8 text file that the user named.

    Raises:
      IngestError: The file cannot be read, or is not text.
    """
    path = absolute(path)
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise IngestError(f"not a text file. Received: {path}") from error
    except Exception as error:  # Beam's file systems each have errors of their own
        raise IngestError(f"the file cannot be read. Received: {path}") from error


def fingerprint(input_base: str, settings: IngestSettings) -> str:
    """Hashes the files that ingest would read, so that cached results are used for equal data only.

    Local files are hashed by their content, so that a touched or copied file changes nothing;
    files in an object store by size and modification time, which their listing contains. The split
    lists or the artists file are among them where the split method reads them.

    Returns:
      32 hexadecimal digits.

    Raises:
      IngestError: There is no music there, or a file is missing.
      GenreError: A genre has no folder, or too few files in it.
    """
    open_file_systems()
    music = find_tracks(input_base, settings.genres)
    layout.check_genres([file.path for file in music.files], settings.genres)
    split = settings.split
    others = {"listed": split.lists, "artist": split.artists}.get(split.method)
    files = [(file.path, f"{music.folder}/{file.path}", file) for file in music.files]
    if others:
        files += [(posixpath.basename(file.path), file.path, file) for file in matched(others)]
    whole = hashlib.blake2b(digest_size=16)
    pool = futures.ThreadPoolExecutor()
    try:
        digests = pool.map(_digest, (path for _, path, _ in files), (file for *_, file in files))
        for (name, _, _), digest in zip(files, digests, strict=True):
            whole.update(f"{layout.printable(name)}\0{digest}\n".encode())
    finally:
        pool.shutdown(cancel_futures=True)  # a signal ends the search
    return whole.hexdigest()


def _list(data: str) -> list[DataFile]:
    """Lists the audio files at any depth, by path."""
    if not is_remote(data):
        if not Path(data).is_dir():
            raise IngestError(f"there is no folder of music at the data path. Received: {data}")
        # Beam would give up on the whole folder for one dangling link or one odd name in it.
        return listing.local_files(data)
    files = (
        dataclasses.replace(file, path=file.path[len(data) :].lstrip("/"))
        for file in _match(f"{quoted(data)}/**")
    )
    return [file for file in files if listing.is_audio(file.path)]


def _match(*patterns: str) -> list[DataFile]:
    files = [
        DataFile(file.path, file.size_in_bytes, changed=file.last_updated_in_seconds or 0.0)
        for match in FileSystems.match(list(patterns))
        for file in match.metadata_list
    ]
    return sorted(files, key=lambda file: file.path)


def _digest(path: str, file: DataFile) -> str:
    if file.problem:
        return file.problem
    if is_remote(path):
        return f"{file.size_bytes} {file.changed}"
    digest = hashlib.blake2b(digest_size=16)
    left = codec.MAXIMUM_BYTES + 1  # as much as is read of it
    try:
        with open_file(path) as source:
            while left > 0 and (block := source.read(1 << 20)):
                left -= len(block)
                digest.update(block)
    except OSError as error:  # ingest will reject the file; the hash only has to differ
        return f"unreadable {file.size_bytes} {error.errno}"
    return digest.hexdigest()
