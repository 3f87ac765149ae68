"""Deforms the tracks of TFRecord files, file by file.

No sound passes between Beam's stages: each element is the name of a file to read and of one to
write, and tracks are streamed from one to the other. So memory does not grow with the split.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import apache_beam as beam
from absl import logging

from components.audio import codec
from components.audio.deformations import DEFORMATIONS, deform
from components.audio.settings import AudioSettings
from components.common import progress, raw_examples
from components.common.raw_examples import RawTrack

_METRICS = "gatefold.deformed_examples"


@dataclasses.dataclass(frozen=True)
class Task:
    """One deformation of the tracks of one file.

    Attributes:
      deformation: Its name.
      source: The TFRecord file to read.
      target: The TFRecord file to write.
    """

    deformation: str
    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class Written:
    """What became of a task.

    Attributes:
      task: The task.
      tracks: Number of tracks in the file.
      failed: Ids of the tracks that could not be deformed.
    """

    task: Task
    tracks: int
    failed: tuple[str, ...]


def tasks(files: Sequence[str], output: str) -> list[Task]:
    """Lists the files to write: each source file once in the split of each deformation.

    Args:
      files: The TFRecord files of the test split, in order.
      output: URI of the `Examples` artifact to write.
    """
    return [
        Task(
            deformation.name,
            file,
            f"{output}/Split-{deformation.name}/data_tfrecord-{index:05d}-of-{len(files):05d}",
        )
        for deformation in DEFORMATIONS
        for index, file in enumerate(files)
    ]


@beam.ptransform_fn
@beam.typehints.with_input_types(Task)
@beam.typehints.with_output_types(Written)
def DeformFiles(  # noqa: N802 - a PTransform is named as a class
    files: beam.PCollection[Task], *, audio: AudioSettings
) -> beam.PCollection[Written]:
    """Reads the files of tasks and writes them deformed.

    Args:
      files: The tasks.
      audio: The analysis settings; rate and shortest sound are read.
    """
    return (
        files
        # Without it all the files would be fused to one worker.
        | "Reshuffle" >> beam.Reshuffle()
        | "Deform" >> beam.Map(_run, audio).with_output_types(Written)
    )


def deformed(track: RawTrack, deformation: str, audio: AudioSettings) -> RawTrack:
    """Deforms one track.

    Its clips are one sound, end to end, as the model takes them. A result under the shortest sound
    that a model answers is filled up with silence, if the track itself is not shorter: of a track
    of just one window, 2 % faster takes 0.06 s.

    Args:
      track: The track.
      deformation: Name of the deformation.
      audio: The analysis settings.

    Returns:
      The track with its new sound; without sound and with the reason if it cannot be deformed.
      Whatever goes wrong with one track must cost no other.
    """
    seed = int.from_bytes(hashlib.blake2b(track.audio, digest_size=8).digest(), "big")
    try:
        samples = track.samples
        result = deform(deformation, samples, sample_rate_hz=audio.sample_rate_hz, seed=seed)
    except Exception as error:
        reason = f"{deformation}: {str(error) or type(error).__name__}"
        logging.warning("%s could not be deformed: %s", track.track_id, reason)
        return dataclasses.replace(track, audio=b"", failure=reason)
    shortest = min(len(samples), audio.minimum_samples)
    pcm = codec.to_pcm16(result)
    return dataclasses.replace(track, audio=pcm + b"\0\0" * max(0, shortest - len(result)))


def _run(task: Task, audio: AudioSettings) -> Written:
    failed: list[str] = []
    count = 0

    def results() -> Iterator[RawTrack]:
        nonlocal count
        for track in raw_examples.tracks([task.source]):
            result = deformed(track, task.deformation, audio)
            outcome = "failed" if result.failure else "deformed"
            beam.metrics.Metrics.counter(_METRICS, f"{outcome}_{task.deformation}").inc()
            if result.failure:
                failed.append(result.track_id)
            count += 1
            progress.report(f"tracks deformed ({task.deformation})", count)
            yield result

    raw_examples.write_records(task.target, (track.serialise() for track in results()))
    return Written(task, count, tuple(failed))
