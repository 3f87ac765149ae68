"""Reads and writes raw examples as tracks, one at a time, on any file system that TensorFlow knows.

In `common` because DeformedExamples writes what Predictions and later nodes read beside ingest.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from components.common.storage import is_remote, register_s3


@dataclasses.dataclass(frozen=True)
class RawTrack:
    """What a raw example says of a track, as far as models are asked about it.

    Attributes:
      track_id: The track's id.
      genre: Its genre.
      audio: Its clips end to end, little-endian 16-bit PCM.
      content: Hash of the sound that ingest accepted, "" if the example does not say.
      failure: Why there is no sound, of a track that could not be deformed; "" otherwise.
    """

    track_id: str
    genre: str
    audio: bytes
    content: str = ""
    failure: str = ""

    @property
    def samples(self) -> np.ndarray:
        """The sound, float32 [samples] in [-1, 1)."""
        return np.frombuffer(self.audio, "<i2").astype(np.float32) / np.float32(32_768)

    @classmethod
    def parse(cls, record: bytes) -> "RawTrack":
        """Parses a serialized raw example.

        Raises:
          ValueError: It lacks a track id, a genre or sound.
        """
        features = tf.train.Example.FromString(record).features.feature
        values = {
            name: features[name].bytes_list.value[0] if name in features else b""
            for name in ("track_id", "genre", "audio", "content_hash", "failure")
        }
        missing = [name for name in ("track_id", "genre") if not values[name]]
        if not values["audio"] and not values["failure"]:
            missing.append("audio")
        if missing:
            raise ValueError(f"a raw example lacks {', '.join(missing)}. Received: {[*features]}")
        return cls(
            track_id=values["track_id"].decode(),
            genre=values["genre"].decode(),
            audio=values["audio"],
            content=values["content_hash"].decode(),
            failure=values["failure"].decode(),
        )

    def serialise(self) -> bytes:
        """The track as a raw example that `parse` reads: the same bytes every time."""
        values = {
            "track_id": self.track_id,
            "genre": self.genre,
            "audio": self.audio,
            "content_hash": self.content,
            "failure": self.failure,
        }
        features = {
            name: tf.train.Feature(
                bytes_list=tf.train.BytesList(
                    value=[value.encode() if isinstance(value, str) else value]
                )
            )
            for name, value in values.items()
            if value
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        return example.SerializeToString(deterministic=True)


def split_files(examples_uri: str, split: str) -> list[str]:
    """Lists the TFRecord files of a split, in order.

    Args:
      examples_uri: URI of an `Examples` artifact.
      split: Name of the split.

    Raises:
      ValueError: There is none.
    """
    folder = f"{examples_uri.rstrip('/')}/Split-{split}"
    files = sorted(fileio.glob(f"{folder}/*"))
    if not files:
        raise ValueError(f"there are no examples in {folder}")
    return files


def records(files: Iterable[str]) -> Iterator[bytes]:
    """Reads the records of TFRecord files, plain or `.gz`, one at a time and in order."""
    for file in files:
        compression = "GZIP" if file.endswith(".gz") else ""
        yield from tf.data.TFRecordDataset(file, compression).as_numpy_iterator()


def tracks(files: Iterable[str]) -> Iterator[RawTrack]:
    """Reads the tracks of TFRecord files; see `records` and `RawTrack.parse`."""
    return map(RawTrack.parse, records(files))


def write_records(path: str, serialised: Iterable[bytes]) -> None:
    """Writes a TFRecord file, one record at a time.

    Args:
      path: A local path, gs:// or s3://; the folder is made where it is missing.
      serialised: Serialized examples; only one is held at a time.
    """
    if is_remote(path):
        register_s3()  # on a Beam worker, too
    fileio.makedirs(path.rpartition("/")[0])
    with tf.io.TFRecordWriter(path) as file:
        for record in serialised:
            file.write(record)
