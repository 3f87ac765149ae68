"""Writes copies of tracks through random degradations, file by file.

No sound passes between Beam's stages: each element is the name of a file to read and of one to
write, so memory does not grow with the data.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx.dsl.io import fileio

from components.audio import codec
from components.audio.degradations import degrade
from components.audio.settings import AudioSettings
from components.common import progress, raw_examples
from components.common.raw_examples import RawTrack

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_METRICS = "gatefold.training_copies"
_AT_ONCE = 16  # tracks whose sound is in memory while threads copy it: encoders hold no lock


class Task(NamedTuple):
    """One file to write.

    Attributes:
      source: The TFRecord file to read.
      target: The TFRecord file to write.
      copy: Number of the copy that is written of each track, from 1; 0 for the track as it is.
    """

    source: str
    target: str
    copy: int


def tasks(files: Mapping[str, Sequence[str]], output: str, copies: int) -> list[Task]:
    """Lists the files to write.

    The training split is written as it is and as `copies` copies of each track, the validation
    split as it is and as one copy (so that early stopping, temperature and the ensemble's weights
    see both), the test split as it is.

    Args:
      files: The files of each split, in order.
      output: URI of the `Examples` artifact to write.
      copies: Copies of each training track, 1 or more.

    Returns:
      The tasks; copies are in files of their own, so that those of one track are far apart.
    """
    copies_of = {TRAIN: copies, VALIDATION: 1, TEST: 0}
    written = []
    for split, sources in files.items():
        total = len(sources) * (copies_of[split] + 1)
        for index in range(total):
            copy, file = divmod(index, len(sources))
            suffix = ".gz" if sources[file].endswith(".gz") and not copy else ""
            name = f"data_tfrecord-{index:05d}-of-{total:05d}{suffix}"
            written.append(Task(sources[file], f"{output}/Split-{split}/{name}", copy))
    return written


@beam.ptransform_fn
@beam.typehints.with_input_types(Task)
@beam.typehints.with_output_types(tuple[Task, int])
def WriteCopies(  # noqa: N802 - a PTransform is named as a class
    files: beam.PCollection[Task], *, audio: AudioSettings
) -> beam.PCollection[tuple[Task, int]]:
    """Reads the files of tasks and writes tracks or their copies.

    Args:
      files: The tasks.
      audio: The analysis settings; rate and shortest sound are read.

    Returns:
      Each task that made copies with the number of tracks that it wrote.
    """
    return (
        files
        # Without it all the files would be fused to one worker.
        | "Reshuffle" >> beam.Reshuffle()
        | "Write" >> beam.Map(_write, audio).with_output_types(tuple[Task, int])
    )


def copied(record: bytes, copy: int, audio: AudioSettings) -> bytes:
    """Makes a copy of a track: a raw example with other sound and all else as it was.

    All that is drawn depends on the sound and on the copy's number, not on the worker, the track's
    name or its place in the data.

    Args:
      record: A serialized raw example.
      copy: The copy's number, from 1.
      audio: The analysis settings.

    Returns:
      The raw example. Its sound is no longer than the original, and no shorter than a model
      answers, if the original is not.
    """
    example = tf.train.Example.FromString(record)
    sound = example.features.feature["audio"].bytes_list
    sound.value[0] = copied_sound(RawTrack.parse(record), copy, audio)
    return example.SerializeToString(deterministic=True)


def copied_sound(track: RawTrack, copy: int, audio: AudioSettings) -> bytes:
    """The sound of a copy, little-endian 16-bit PCM; see `copied`."""
    samples = track.samples
    key = hashlib.blake2b(track.audio, digest_size=8, person=b"copy").digest()
    seed = int.from_bytes(key, "big") + copy
    degraded = degrade(samples, sample_rate_hz=audio.sample_rate_hz, seed=seed)
    pcm = codec.to_pcm16(degraded[: len(samples)])
    return pcm.ljust(2 * min(len(samples), audio.minimum_samples), b"\0")


def _write(task: Task, audio: AudioSettings) -> tuple[Task, int]:
    if not task.copy:
        fileio.makedirs(task.target.rpartition("/")[0])
        fileio.copy(task.source, task.target)
        return task, 0
    count = 0

    def copy_of(record: bytes) -> bytes | Exception:
        try:
            return copied(record, task.copy, audio)
        except Exception as error:  # one track's bad luck must cost no other
            return error

    def results(threads: ThreadPoolExecutor) -> Iterator[bytes]:
        nonlocal count
        records = raw_examples.records([task.source])
        while some := list(itertools.islice(records, _AT_ONCE)):
            for record, made in zip(some, threads.map(copy_of, some), strict=True):
                if isinstance(made, Exception):
                    beam.metrics.Metrics.counter(_METRICS, "failed").inc()
                    track = RawTrack.parse(record).track_id
                    logging.warning("%s: copy %d could not be made: %s", track, task.copy, made)
                    continue
                yield made
                beam.metrics.Metrics.counter(_METRICS, "copies").inc()
                count += 1
                progress.report("copies made", count)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        raw_examples.write_records(task.target, results(threads))
    return task, count
