"""The ends of the ingest pipeline: examine every file, and write the shards.

No audio goes through a shuffle. The first pass reads each file and emits a few numbers, from which
`decide.py` decides; the second pass reads the accepted files again and streams them, one at a time,
into their shard's file. So memory does not grow with the number of tracks, not even on the direct
runner, which holds every PCollection in memory.
"""

import collections
import json
import threading
from collections.abc import Iterable, Iterator

import apache_beam as beam

from components.audio.settings import AudioSettings
from components.common import progress, raw_examples
from components.example_gen import files, plan, tracks
from components.example_gen.lists import ReadLines
from components.example_gen.plan import Counts, Shard
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan.listing import DataFile

_METRICS = "gatefold.ingest"


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(Examined)
def ExamineFiles(  # noqa: N802 - a PTransform is named as a class
    pipeline: beam.Pipeline,
    *,
    folder: str,
    listing: str,
    total: int,
    settings: IngestSettings,
) -> beam.PCollection[Examined]:
    """Reads and examines audio files.

    Args:
      pipeline: The pipeline.
      folder: The genre folders' parent.
      listing: File with a line for each of the files in it, the fields of a `DataFile`. Workers
        read it, so that the job itself, which is sent to the engine in one piece, does not grow
        with the music.
      total: Number of the files, to report progress.
      settings: Ingest settings.
    """
    return (
        pipeline
        | "List" >> ReadLines(path=listing)
        # Without it all the files would be fused to one worker.
        | "Reshuffle" >> beam.Reshuffle()
        | "Examine" >> beam.Map(_examine, folder, settings, total)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(str)
def WriteShards(  # noqa: N802
    placed: beam.PCollection[Examined],
    counts: beam.PCollection[Counts],
    *,
    folder: str,
    output: str,
    settings: IngestSettings,
) -> beam.PCollection[str]:
    """Writes the TFRecord files; none if the counts have a failure.

    Args:
      placed: All files, the accepted tracks with their splits.
      counts: One element.
      folder: The genre folders' parent.
      output: URI of the artifact; files go to `Split-<split>/` below it.
      settings: Ingest settings.

    Returns:
      The paths written.
    """
    return (
        placed
        | "DealShards" >> DealShards(counts, settings=settings)
        | "Reshuffle" >> beam.Reshuffle()
        | "Write" >> beam.Map(_write_shard, folder, output, settings.audio)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(Shard)
def DealShards(  # noqa: N802
    placed: beam.PCollection[Examined],
    counts: beam.PCollection[Counts],
    *,
    settings: IngestSettings,
) -> beam.PCollection[Shard]:
    """Deals the accepted tracks out to shards; there are none if the counts have a failure."""
    known_counts = beam.pvalue.AsSingleton(counts)
    return (
        placed
        | "Bucket" >> beam.FlatMap(_to_bucket, known_counts, settings)
        | "Group" >> beam.GroupByKey()
        | "Deal" >> beam.FlatMap(_deal, known_counts, settings)
    )


def shard_path(output: str, shard: Shard) -> str:
    """Names a shard's file as TFX does, uncompressed: PCM hardly shrinks and gzip is slow."""
    name = f"data_tfrecord-{shard.index:05d}-of-{shard.count:05d}"
    return f"{output}/Split-{shard.split}/{name}"


def _examine(line: str, folder: str, settings: IngestSettings, total: int) -> Examined:
    track = tracks.examine_file(
        DataFile(**json.loads(line)), folder=folder, genres=settings.genres, audio=settings.audio
    )
    outcome = track.fault or "usable"
    beam.metrics.Metrics.counter(_METRICS, outcome.replace(" ", "_")).inc()
    _tally.advance("tracks examined", folder, total)
    return track


def _write_shard(shard: Shard, folder: str, output: str, audio: AudioSettings) -> str:
    def records() -> Iterator[bytes]:
        for track in shard.tracks:
            try:
                data = files.read(f"{folder}/{track.path}")
            except Exception as error:  # each file system raises errors of its own
                raise files.changed(track.path, tracks.reason(error)) from error
            yield tracks.to_example(track, data, audio)
            _tally.advance("tracks written", output, None)

    path = shard_path(output, shard)
    raw_examples.write_records(path, records())
    beam.metrics.Metrics.counter(_METRICS, f"written_{shard.split}").inc(len(shard.tracks))
    return path


class _Tally:
    """Counts finished tracks across the worker threads of this process, to report progress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: collections.Counter[tuple[str, str]] = collections.Counter()

    def advance(self, activity: str, place: str, total: int | None) -> None:
        with self._lock:
            done = self._done[activity, place] = self._done[activity, place] + 1
            if done == total:
                del self._done[activity, place]
        progress.report(activity, done, total)


_tally = _Tally()

_Bucket = tuple[str, int]  # split, and number of the bucket of shards


def _to_bucket(
    track: Examined, counts: Counts, settings: IngestSettings
) -> Iterator[tuple[_Bucket, Examined]]:
    if not track.fault and not counts.failure:
        number = plan.bucket(track, counts.splits()[track.split], settings)
        yield (track.split, number), track


def _deal(
    item: tuple[_Bucket, Iterable[Examined]], counts: Counts, settings: IngestSettings
) -> Iterator[Shard]:
    (split, number), members = item
    return plan.deal(split, number, members, counts.splits()[split], settings)
