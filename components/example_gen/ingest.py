"""The ends of the ingest pipeline: examine every file, and write the shards.

No audio goes through a shuffle. The first pass reads each file and emits a few numbers, from which
`decide.py` decides; the second pass reads the accepted files again and streams them, one at a time,
into their shard's file. So memory does not grow with the number of tracks, not even on the direct
runner, which holds every PCollection in memory.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Iterator

import apache_beam as beam

from components.audio.settings import AudioSettings
from components.common import progress, raw_examples
from components.example_gen import files, tracks
from components.example_gen.counts import Counts
from components.example_gen.lists import ReadLines
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from components.gtzan.listing import DataFile

# Tracks are dealt out to the shards of one bucket by rank, so that those are of equal size; a
# bucket's tracks come together in one element. A split of up to so many shards is one bucket.
SHARDS_PER_BUCKET = 32

_METRICS = "gatefold.ingest"
_Bucket = tuple[str, int]  # split, and number of the bucket of shards


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file to write.

    Attributes:
      split: The split it belongs to.
      index: Its number in the split.
      count: Number of the split's shards.
      tracks: Its tracks, in order.
    """

    split: str
    index: int
    count: int
    tracks: tuple[Examined, ...]

    def path(self, output: str) -> str:
        """Its file, named as TFX does, uncompressed: PCM hardly shrinks and gzip is slow."""
        name = f"data_tfrecord-{self.index:05d}-of-{self.count:05d}"
        return f"{output}/Split-{self.split}/{name}"


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
        | "Examine" >> beam.Map(_examine, folder, listing, settings, total)
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
    """Writes the TFRecord files and returns their paths; none if the counts have a failure.

    Args:
      placed: All files, the accepted tracks with their splits.
      counts: One element.
      folder: The genre folders' parent.
      output: URI of the artifact; files go to `Split-<split>/` below it.
      settings: Ingest settings.
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
    """Deals the accepted tracks out to shards, by hash, so that every shard mixes the genres.

    There are no shards if the counts have a failure, and none without a track.
    """
    known_counts = beam.pvalue.AsSingleton(counts)
    return (
        placed
        | "Bucket" >> beam.FlatMap(_to_bucket, known_counts, settings)
        | "Group" >> beam.GroupByKey()
        | "Deal" >> beam.FlatMap(_deal, known_counts, settings)
    )


def _examine(
    line: str, folder: str, listing: str, settings: IngestSettings, total: int
) -> Examined:
    track = tracks.examine_file(
        DataFile(**json.loads(line)), folder=folder, genres=settings.genres, audio=settings.audio
    )
    outcome = track.fault or "usable"
    beam.metrics.Metrics.counter(_METRICS, outcome.replace(" ", "_")).inc()
    progress.report("tracks examined", next(_numbers(listing)), total)
    return track


def _to_bucket(
    track: Examined, counts: Counts, settings: IngestSettings
) -> Iterator[tuple[_Bucket, Examined]]:
    if not track.fault and not counts.failure:
        buckets = _buckets(counts.splits()[track.split], settings)
        yield (track.split, int(_mixed(track) * buckets)), track


def _deal(
    bucket: tuple[_Bucket, Iterable[Examined]], counts: Counts, settings: IngestSettings
) -> Iterator[Shard]:
    (split, number), members = bucket
    size = counts.splits()[split]
    buckets = _buckets(size, settings)
    count = SHARDS_PER_BUCKET if buckets > 1 else -(-size // settings.tracks_per_shard)
    ordered = sorted(members, key=lambda track: (_mixed(track), track.track_id))
    for index in range(min(count, len(ordered))):
        yield Shard(split, number * count + index, buckets * count, tuple(ordered[index::count]))


def _buckets(split_size: int, settings: IngestSettings) -> int:
    return max(1, -(-split_size // (SHARDS_PER_BUCKET * settings.tracks_per_shard)))


def _mixed(track: Examined) -> float:
    return splits.position(track.track_id, seed=-1)


def _write_shard(shard: Shard, folder: str, output: str, audio: AudioSettings) -> str:
    def records() -> Iterator[bytes]:
        for track in shard.tracks:
            try:
                data = files.read(f"{folder}/{track.path}")
            except Exception as error:  # each file system raises errors of its own
                raise files.changed(track.path, tracks.reason(error)) from error
            yield tracks.to_example(track, data, audio)
            progress.report("tracks written", next(_numbers(output)), None)

    path = shard.path(output)
    raw_examples.write_records(path, records())
    beam.metrics.Metrics.counter(_METRICS, f"written_{shard.split}").inc(len(shard.tracks))
    return path


@functools.cache
def _numbers(of: str) -> Iterator[int]:
    """Counts for all threads of this process, to report progress: one count a run's file or URI."""
    return itertools.count(1)
