"""The ends of the ingest pipeline: examine every file, and write the shards.

No audio goes through a shuffle. The first pass reads each file and emits a few numbers, from which
`decide.py` decides; the second pass reads the accepted files again and streams them, one at a time,
into their shard's file. So memory does not grow with the number of tracks, not even on the direct
runner, which holds every PCollection in memory.
"""

import collections
import threading
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes, FileMetadata

from components.audio import codec
from components.audio.settings import AudioSettings
from components.common import progress
from components.example_gen import files, plan, tracks
from components.example_gen.assign import Placed
from components.example_gen.lists import ReadLines
from components.example_gen.plan import Decision, Shard
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined

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
      listing: File with a line for each of the files in it (`files.to_line`). Workers read it, so
        that the job itself, which is sent to the engine in one piece, does not grow with the music.
      total: Number of the files, to report progress.
      settings: Ingest settings.
    """
    return (
        pipeline
        | "List" >> ReadLines(path=listing)
        | "Parse" >> beam.Map(files.from_line).with_output_types(FileMetadata)
        # Without it all the files would be fused to one worker.
        | "Reshuffle" >> beam.Reshuffle()
        | "Open" >> fileio.ReadMatches(CompressionTypes.UNCOMPRESSED)
        | "Examine" >> beam.ParDo(_Examine(folder, settings, total))
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Placed)
@beam.typehints.with_output_types(str)
def WriteShards(  # noqa: N802
    placed: beam.PCollection[Placed],
    decision: beam.PCollection[Decision],
    *,
    folder: str,
    output: str,
    settings: IngestSettings,
) -> beam.PCollection[str]:
    """Writes the TFRecord files; none if the decision says so.

    Args:
      placed: The accepted tracks with their splits.
      decision: One element.
      folder: The genre folders' parent.
      output: URI of the artifact; files go to `Split-<split>/` below it.
      settings: Ingest settings.

    Returns:
      The paths written.
    """
    return (
        placed
        | "DealShards" >> DealShards(decision, settings=settings)
        | "Reshuffle" >> beam.Reshuffle()
        | "Write" >> beam.ParDo(_WriteShard(folder, output, settings.audio))
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Placed)
@beam.typehints.with_output_types(Shard)
def DealShards(  # noqa: N802
    placed: beam.PCollection[Placed],
    decision: beam.PCollection[Decision],
    *,
    settings: IngestSettings,
) -> beam.PCollection[Shard]:
    """Deals the tracks out to shards; there are none if the decision says so."""
    decided = beam.pvalue.AsSingleton(decision)
    return (
        placed
        | "Bucket" >> beam.FlatMap(_to_bucket, decided, settings)
        | "Group" >> beam.GroupByKey()
        | "Deal" >> beam.FlatMap(_deal, decided, settings)
    )


def shard_path(output: str, shard: Shard) -> str:
    """Names a shard's file as TFX does, uncompressed: PCM hardly shrinks and gzip is slow."""
    name = f"data_tfrecord-{shard.index:05d}-of-{shard.count:05d}"
    return f"{output}/Split-{shard.split}/{name}"


class _Examine(beam.DoFn):
    def __init__(self, folder: str, settings: IngestSettings, total: int):
        self._folder, self._settings, self._total = folder, settings, total

    def process(self, file: fileio.ReadableFile) -> Iterator[Examined]:
        path = files.relative(file.metadata.path, self._folder)
        track = tracks.identify(path, self._settings.genres)
        if not track.fault:
            track = _examine_file(track, file, self._settings.audio)
        outcome = track.fault or "usable"
        beam.metrics.Metrics.counter(_METRICS, outcome.replace(" ", "_")).inc()
        _tally.advance("tracks examined", self._folder, self._total)
        yield track


class _WriteShard(beam.DoFn):
    def __init__(self, folder: str, output: str, audio: AudioSettings):
        self._folder, self._output, self._audio = folder, output, audio

    def process(self, shard: Shard) -> Iterator[str]:
        path = shard_path(self._output, shard)
        written = files.write_records(path, self._records(shard.tracks))
        beam.metrics.Metrics.counter(_METRICS, f"written_{shard.split}").inc(written)
        yield path

    def _records(self, members: Iterable[Examined]) -> Iterator[bytes]:
        for track in members:
            data = files.read(f"{self._folder}/{track.path}")
            yield tracks.to_example(track, data, self._audio)
            _tally.advance("tracks written", self._output, None)


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


def _examine_file(track: Examined, file: fileio.ReadableFile, audio: AudioSettings) -> Examined:
    try:
        with file.open() as source:
            data = source.read(codec.MAXIMUM_BYTES + 1)
    # One broken file must not stop the run, and each file system raises errors of its own.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Examined(track.path, track.track_id, track.genre, tracks.UNREADABLE, str(reason))
    return tracks.examine(track, data, audio)


_Bucket = tuple[str, int]  # split, and number of the bucket of shards


def _to_bucket(
    placed: Placed, decision: Decision, settings: IngestSettings
) -> Iterator[tuple[_Bucket, Examined]]:
    split, track = placed
    if not decision.failure:
        yield (split, plan.bucket(track, decision.splits[split], settings)), track


def _deal(
    item: tuple[_Bucket, Iterable[Examined]], decision: Decision, settings: IngestSettings
) -> Iterator[Shard]:
    (split, number), members = item
    return plan.deal(split, number, members, decision.splits[split], settings)
