"""An object store in memory, as TFX's file functions see one: `bucket://name/key`.

As on S3 there are no folders but those of keys, no renames, and a file is there once it is closed.
"""

import io
import itertools
from collections.abc import Iterator
from typing import IO, ClassVar

import tensorflow as tf
from tfx.dsl.io import filesystem, filesystem_registry

_numbers = itertools.count()


class Bucket(filesystem.Filesystem):
    """All buckets.

    Attributes:
      objects: Contents by URI.
      puts: URIs in the order in which they were written.
      room: How many objects may still be written.
      is_down: Whether nothing can be removed either, as for a process that is dead.
    """

    SUPPORTED_SCHEMES = ["bucket://"]

    objects: ClassVar[dict[str, bytes]] = {}
    puts: ClassVar[list[str]] = []
    room: ClassVar[float] = float("inf")
    is_down: ClassVar[bool] = False

    @classmethod
    def put(cls, uri: str, content: bytes) -> None:
        if cls.room <= 0:
            raise tf.errors.ResourceExhaustedError(None, None, "the bucket is full")
        cls.room -= 1
        cls.objects[uri] = content
        cls.puts.append(uri)

    @staticmethod
    def open(name: str, mode: str = "r") -> IO:
        if "w" in mode:
            return _Upload(name) if "b" in mode else io.TextIOWrapper(_Upload(name), "utf-8")
        if name not in Bucket.objects:
            raise filesystem.NotFoundError
        content = io.BytesIO(Bucket.objects[name])
        return content if "b" in mode else io.TextIOWrapper(content, "utf-8")

    @staticmethod
    def copy(src: str, dst: str, overwrite: bool = False) -> None:
        assert overwrite
        Bucket.put(dst, Bucket.objects[src])

    @staticmethod
    def exists(path: str) -> bool:
        return path in Bucket.objects or any(Bucket._below(path))

    @staticmethod
    def listdir(path: str) -> list[str]:
        return sorted({name.partition("/")[0] for name in Bucket._below(path)})

    @staticmethod
    def walk(top: str, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        folders = {name.rpartition("/")[0] for name in Bucket._below(top)}
        for folder in sorted(folders):
            place = f"{top}/{folder}".rstrip("/")
            yield place, [], [name for name in Bucket._below(place) if "/" not in name]

    @staticmethod
    def makedirs(path: str) -> None:
        """There are no folders."""

    @staticmethod
    def remove(path: str) -> None:
        if Bucket.is_down:
            raise tf.errors.UnavailableError(None, None, "the store does not answer")
        del Bucket.objects[path]

    @staticmethod
    def _below(folder: str) -> list[str]:
        prefix = f"{folder.rstrip('/')}/"
        return [uri[len(prefix) :] for uri in Bucket.objects if uri.startswith(prefix)]


class _Upload(io.BytesIO):
    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            Bucket.put(self._uri, content)


def new_bucket() -> str:
    """The URI of an empty bucket."""
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(Bucket, priority=20)
    return f"bucket://{next(_numbers)}"
