"""Finding, reading and writing files wherever Beam can: a local disk, gs:// and s3://."""

import hashlib
import posixpath
import struct
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path

import google_crc32c
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.audio import codec
from components.errors import UserError
from components.gtzan import layout
from components.storage import is_remote


class IngestError(UserError):
    """The data cannot be ingested; the message says why, fit for a user.

    Attributes:
      page: The ingest report's page where the run got that far, else "": TFX deletes what a failed
        node has written, and so whoever shows the error may want to keep it.
    """

    def __init__(self, message: str, *, page: str = ""):
        super().__init__(message)
        self.page = page


def open_file_systems() -> None:
    """Lets Beam read object stores outside a pipeline, which else brings their options along."""
    FileSystems.set_options(PipelineOptions([]))


def absolute(uri: str) -> str:
    """Makes a local path absolute, as a worker may run elsewhere; drops a closing slash."""
    if not is_remote(uri):
        uri = str(Path(uri).expanduser().absolute())
    return uri.rstrip("/") or "/"


def _quoted(path: str) -> str:
    """Makes a pattern that matches a path and nothing else, whatever its name."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in path)


def relative(path: str, folder: str) -> str:
    """Makes a file's path relative to `folder`, with forward slashes."""
    return path[len(folder) :].lstrip("/").replace("\\", "/")


def is_track_file(path: str) -> bool:
    """Tells whether a relative path has the name of an audio file that is not hidden."""
    return not layout.is_hidden(path) and path.lower().endswith(codec.SUFFIXES)


def find_tracks(data: str, genres: tuple[str, ...]) -> tuple[str, list[FileMetadata]]:
    """Finds the folder of the genre folders and the audio files in it.

    Args:
      data: The folder that the user named.
      genres: The genres that there are.

    Returns:
      The genre folders' parent (`data` or one of `layout.ROOTS` below it) and the files by path.

    Raises:
      IngestError: There is no audio file in any genre folder.
    """
    data = absolute(data)
    if not is_remote(data) and not Path(data).is_dir():
        raise IngestError(f"there is no folder of music at the data path. Received: {data}")
    for root in layout.ROOTS:
        folder = f"{data}/{root}".rstrip("/")
        found = [
            file for file in _in_subfolders(folder) if is_track_file(relative(file.path, folder))
        ]
        if layout.has_genre_folders((relative(file.path, folder) for file in found), genres):
            return folder, sorted(found, key=lambda file: file.path)
    raise IngestError(
        f"no audio files ({', '.join(codec.SUFFIXES)}) in folders named after the genres "
        f"({', '.join(genres)}). Received: {data}"
    )


def _in_subfolders(folder: str) -> list[FileMetadata]:
    """Lists the files one level down."""
    if is_remote(folder):
        return list(FileSystems.match([f"{_quoted(folder)}/*/*"])[0].metadata_list)
    # Beam would give up on the whole folder for one dangling link in it.
    return [FileMetadata(str(path), _size(path)) for path in Path(folder).glob("*/*")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reading it will say why
        return 0


def read(path: str, *, limit: int = codec.MAXIMUM_BYTES) -> bytes:
    """Reads a file as it is, at most `limit` bytes and one more (to tell that there are more)."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read(limit + 1)


def read_text(path: str) -> str:
    """Reads a UTF-8 text file that the user named.

    Raises:
      IngestError: It cannot be read, or is no text.
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
    found = FileSystems.match([f"{_quoted(folder)}/*"])[0].metadata_list
    return sorted(posixpath.basename(file.path.replace("\\", "/")) for file in found)


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Writes a TFRecord file, one record at a time.

    The framing is TFRecord's: length, its masked CRC-32C, the record, its masked CRC-32C
    (tensorflow/core/lib/io/record_writer.h).

    Args:
      path: Where to write.
      records: Serialized examples; only one is held at a time.

    Returns:
      The number of records.
    """
    count = 0
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + _masked_crc(length))
            file.write(record)
            file.write(_masked_crc(record))
            count += 1
    return count


def fingerprint(data: str, genres: tuple[str, ...], *, others: Iterable[str] = ()) -> str:
    """Hashes what the ingest would read, so that a cached result is used only for the same data.

    Local files are hashed by their content, so that a touched or copied file changes nothing;
    files in an object store by size and time of change, which the listing brings along.

    Args:
      data: The folder that the user named.
      genres: The genres that there are.
      others: Files, and folders of files, that the split method reads.

    Raises:
      IngestError: There is no music there, or a file of `others` is missing.
    """
    folder, found = find_tracks(data, genres)
    entries = [(relative(file.path, folder), file) for file in found]
    for other in others:
        entries += [(posixpath.basename(file.path), file) for file in _matched(absolute(other))]
    with futures.ThreadPoolExecutor() as pool:
        digests = pool.map(_digest, (file for _, file in entries))
        whole = hashlib.blake2b(digest_size=16)
        for (name, _), digest in zip(entries, digests, strict=True):
            whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()


def _matched(path: str) -> list[FileMetadata]:
    """Finds a file, or the files in a folder."""
    quoted = _quoted(path)
    matches = FileSystems.match([quoted, f"{quoted}/*"])
    found = [file for match in matches for file in match.metadata_list]
    if not found:
        raise IngestError(f"there is no such file or folder. Received: {path}")
    found = [file for file in found if is_remote(file.path) or Path(file.path).is_file()]
    return sorted(found, key=lambda file: file.path)


def _digest(file: FileMetadata) -> str:
    if is_remote(file.path):
        return f"{file.size_in_bytes} {file.last_updated_in_seconds}"
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(file.path).open("rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    except OSError as error:  # the ingest will reject it; here it only has to be told apart
        return f"unreadable {file.size_in_bytes} {error.errno}"
    return digest.hexdigest()


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
