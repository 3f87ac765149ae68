"""The ingest as a Beam pipeline: examine every file, decide, write the shards.

No sound goes through a shuffle. The first pass reads each file and sends on a few numbers; the
decision is made on those; the second pass reads the accepted files again and streams them, one at
a time, into their shard's file. So memory does not grow with the number of tracks, on the
in-process runner either, which holds every PCollection.
"""

import collections
import threading
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes, FileMetadata

from components import progress
from components.audio import codec
from components.audio.settings import AudioSettings
from components.example_gen import files, tracks
from components.example_gen.plan import Plan, Shard, SplitSources, make_plan, shards
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined

_METRICS = "gatefold.ingest"


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(Examined)
def ExamineFiles(  # noqa: N802 - a PTransform is named as a class
    pipeline: beam.Pipeline, *, folder: str, found: list[FileMetadata], settings: IngestSettings
) -> beam.PCollection[Examined]:
    """Reads audio files and says what is in each.

    Args:
      pipeline: The pipeline.
      folder: The genre folders' parent.
      found: The files in it, as `files.find_tracks` lists them.
      settings: What the ingest is told.
    """
    return (
        pipeline
        | "List" >> beam.Create(found)
        # Without it all the files would be fused to one worker.
        | "Reshuffle" >> beam.Reshuffle()
        | "Open" >> fileio.ReadMatches(CompressionTypes.UNCOMPRESSED)
        | "Examine" >> beam.ParDo(_Examine(folder, settings, len(found)))
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(Plan)
def Decide(  # noqa: N802
    examined: beam.PCollection[Examined], *, settings: IngestSettings, sources: SplitSources
) -> beam.PCollection[Plan]:
    """Turns what was found into one plan; no files at all give an empty one."""
    return (
        examined
        | "Gather" >> beam.combiners.ToList()
        | "Plan" >> beam.Map(make_plan, settings, sources).with_output_types(Plan)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Plan)
@beam.typehints.with_output_types(str)
def WriteShards(  # noqa: N802
    plan: beam.PCollection[Plan], *, folder: str, output: str, settings: IngestSettings
) -> beam.PCollection[str]:
    """Writes the plan's TFRecord files; nothing for a plan that failed.

    Args:
      plan: One plan.
      folder: The genre folders' parent.
      output: The artifact's place; files go to `Split-<split>/` below it.
      settings: What the ingest is told.

    Returns:
      The paths written.
    """
    return (
        plan
        | "Deal" >> beam.FlatMap(shards, settings).with_output_types(Shard)
        | "Reshuffle" >> beam.Reshuffle()
        | "Write" >> beam.ParDo(_WriteShard(folder, output, settings.audio))
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Plan)
def SavePlan(plan: beam.PCollection[Plan], *, path: str) -> beam.PCollection[str]:  # noqa: N802
    """Saves the plan where the executor, which waits for the pipeline, can read it."""
    return plan | "Save" >> beam.Map(_save, path)


def shard_path(output: str, shard: Shard) -> str:
    """Names a shard's file as TFX does, uncompressed: PCM hardly shrinks and gzip is slow."""
    name = f"data_tfrecord-{shard.index:05d}-of-{shard.count:05d}"
    return f"{output}/Split-{shard.split}/{name}"


def load_plan(path: str) -> Plan:
    """Loads what `SavePlan` wrote in the same run."""
    return Plan.from_json(files.read(path))


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
    """Counts what the workers of this process have done, for who watches."""

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
    # A broken file must not stop the others, and each file system has errors of its own.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Examined(track.path, track.track_id, track.genre, tracks.UNREADABLE, str(reason))
    return tracks.examine(track, data, audio)


def _save(plan: Plan, path: str) -> str:
    with files.FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(plan.to_json())
    return path
