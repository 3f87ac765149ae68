"""Finds, reads and writes files on every file system that Beam knows: local, gs:// and s3://."""

import dataclasses
import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.audio import codec, streaming
from components.common.errors import UserError
from components.common.storage import is_remote
from components.example_gen import tracks
from components.example_gen.tracks import Examined
from components.gtzan import layout, listing, manifest


class IngestError(UserError):
    """The data cannot be ingested; the message tells the user why.

    Its page is the ingest report, if the run got that far.
    """

    def __init__(self, message: str, *, page: str = ""):
        super().__init__(message, page=page, page_name="ingest.html")


def open_file_systems() -> None:
    """Lets Beam read object stores outside a pipeline, which would otherwise set their options."""
    FileSystems.set_options(PipelineOptions([]))


def absolute(uri: str) -> str:
    """Makes a local path absolute, as workers may have another working directory.

    A trailing slash is dropped.
    """
    if not is_remote(uri):
        uri = str(Path(uri).expanduser().absolute())
    return uri.rstrip("/") or "/"


def quoted(path: str) -> str:
    """Escapes a path so that it matches only itself as a pattern."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in path)


def relative(path: str, folder: str) -> str:
    """Makes a file's path relative to `folder`."""
    return path[len(folder) :].lstrip("/")


@dataclasses.dataclass(frozen=True)
class Music:
    """The audio files of a data folder.

    Attributes:
      folder: The genre folders' parent: the data folder or one of `layout.ROOTS` below it.
      files: Every audio file below it, by path.
      refused: Files and folders that cannot be named or opened, as faults with printable paths.
    """

    folder: str
    files: tuple[FileMetadata, ...]
    refused: tuple[Examined, ...] = ()


def find_tracks(data: str, genres: Sequence[str]) -> Music:
    """Finds the folder of the genre folders and the audio files below it.

    Args:
      data: The folder that the user named.
      genres: Genres in label order.

    Raises:
      IngestError: There is no audio file in any genre folder.
    """
    data = absolute(data)
    listed_files = _list(data)
    paths = [file.path for file in listed_files if not file.problem]
    root = layout.find_root(paths, genres)
    if root is None:
        closed = [file for file in listed_files if file.problem]
        if closed:
            raise IngestError(
                f"a folder cannot be looked into ({closed[0].problem}). "
                f"Received: {layout.printable(f'{data}/{closed[0].path}'.rstrip('/'))}"
            )
        raise IngestError(
            f"no audio files ({', '.join(streaming.SUFFIXES)} …) in folders named after the genres "
            f"({', '.join(genres)}). Received: {data}"
        )
    folder = f"{data.rstrip('/')}/{root}".rstrip("/")
    prefix = f"{root}/" if root else ""
    below = [
        dataclasses.replace(file, path=file.path.removeprefix(prefix))
        for file in listed_files
        if file.path.startswith(prefix)
    ]
    faults = {file.path: _refusal(file) for file in below}
    return Music(
        folder=folder,
        files=tuple(
            FileMetadata(f"{folder}/{file.path}", file.size_bytes, file.changed)
            for file in below
            if not faults[file.path]
        ),
        refused=tuple(
            Examined(layout.printable(path), layout.printable(path), "", *fault)
            for path, fault in faults.items()
            if fault
        ),
    )


def audio_paths(data: str) -> list[str]:
    """Lists the relative paths of the audio files at any depth.

    Args:
      data: The folder that the user named.

    Raises:
      IngestError: There is no such folder.
    """
    return [file.path for file in _list(absolute(data)) if not file.problem]


def to_line(file: FileMetadata) -> list[Any]:
    """A file as plain values, for the listing that workers read."""
    return [file.path, file.size_in_bytes, file.last_updated_in_seconds]


def from_line(values: list[Any]) -> FileMetadata:
    """Restores what `to_line` made."""
    return FileMetadata(*values)


def is_composed(data: str) -> bool:
    """Tells whether the music of a folder was composed by Gatefold."""
    if not is_remote(data):
        return manifest.is_composed(data)
    path = f"{data.rstrip('/')}/{manifest.MANIFEST}"
    return FileSystems.exists(path) and manifest.is_manifest(read(path))


@dataclasses.dataclass(frozen=True)
class _Listed:
    path: str  # relative to the data folder
    size_bytes: int
    changed: float = 0.0  # seconds since 1970, of a file in an object store
    problem: str = ""


def _list(data: str) -> list[_Listed]:
    """Lists the audio files at any depth, by path."""
    if is_remote(data):
        matches = FileSystems.match([f"{quoted(data)}/**"])[0].metadata_list
        files = [
            _Listed(
                relative(file.path, data), file.size_in_bytes, file.last_updated_in_seconds or 0.0
            )
            for file in matches
        ]
        return sorted(
            (file for file in files if listing.is_audio(file.path)), key=lambda file: file.path
        )
    if not Path(data).is_dir():
        raise IngestError(f"there is no folder of music at the data path. Received: {data}")
    # Beam would give up on the whole folder for one dangling link or one odd name in it.
    return [
        _Listed(file.path, file.size_bytes, problem=file.problem)
        for file in listing.local_files(data)
    ]


def _refusal(file: _Listed) -> tuple[str, str] | None:
    """Fault and detail of a file that cannot be opened or that Beam could not name; else None."""
    if file.problem:
        return tracks.UNREADABLE, f"the folder cannot be looked into: {file.problem}"
    if not layout.is_text(file.path):
        return tracks.NOT_UTF8, "rename it, with letters that are UTF-8"
    return None


def read(path: str, *, limit: int = codec.MAXIMUM_BYTES) -> bytes:
    """Reads at most `limit` + 1 bytes of a file; the last one shows that the file is too large."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read(limit + 1)


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


def names_in(folder: str) -> list[str]:
    """Lists the names of the files in a folder; empty where there is no such folder."""
    folder = absolute(folder)
    matches = FileSystems.match([f"{quoted(folder)}/*"])[0].metadata_list
    return sorted(posixpath.basename(file.path.replace("\\", "/")) for file in matches)


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Writes a TFRecord file, one record at a time.

    Args:
      path: Where to write; a local path, gs:// or s3://.
      records: Serialized examples; only one is held at a time.

    Returns:
      The number of records.
    """
    if is_remote(path):
        import tensorflow_io  # noqa: F401 - lets TensorFlow write to s3://
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(path) as file:
        for record in records:
            file.write(record)
            count += 1
    return count


def fingerprint(data: str, genres: tuple[str, ...], *, others: Iterable[str] = ()) -> str:
    """Hashes the files that ingest would read, so that cached results are used for equal data only.

    Local files are hashed by their content, so that a touched or copied file changes nothing;
    files in an object store by size and modification time, which their listing contains.

    Args:
      data: The folder that the user named.
      genres: Genres in label order.
      others: Files, and folders of files, that the split method reads.

    Raises:
      IngestError: There is no music there, or a file of `others` is missing.
    """
    music = find_tracks(data, genres)
    entries = [(relative(file.path, music.folder), file) for file in music.files]
    for other in others:
        entries += [(posixpath.basename(file.path), file) for file in _matched(absolute(other))]
    with futures.ThreadPoolExecutor() as pool:
        digests = pool.map(_digest, (file for _, file in entries))
        whole = hashlib.blake2b(digest_size=16)
        for (name, _), digest in zip(entries, digests, strict=True):
            whole.update(f"{name}\0{digest}\n".encode())
        for refused in music.refused:
            whole.update(f"{refused.path}\0{refused.fault}\n".encode())
    return whole.hexdigest()


def _matched(path: str) -> list[FileMetadata]:
    """Finds a file, or the files in a folder."""
    pattern = quoted(path)
    matches = FileSystems.match([pattern, f"{pattern}/*"])
    matched_files = [file for match in matches for file in match.metadata_list]
    if not matched_files:
        raise IngestError(f"there is no such file or folder. Received: {path}")
    matched_files = [
        file for file in matched_files if is_remote(file.path) or Path(file.path).is_file()
    ]
    return sorted(matched_files, key=lambda file: file.path)


def _digest(file: FileMetadata) -> str:
    if is_remote(file.path):
        return f"{file.size_in_bytes} {file.last_updated_in_seconds}"
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(file.path).open("rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    except OSError as error:  # ingest will reject the file; the hash only has to differ
        return f"unreadable {file.size_in_bytes} {error.errno}"
    return digest.hexdigest()
