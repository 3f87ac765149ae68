"""Decides on every examined file: who is left out, and which split each track goes to.

All files stay in one PCollection throughout; one that is left out has a fault, the others get a
split. What must be known of all of them is known in numbers (`Counts`), and what two tracks have to
do with each other is found by key.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from components.common import storage
from components.example_gen import plan, tracks
from components.example_gen.assign import AssignSplits
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.near_duplicates import FindNearDuplicates, parts_for
from components.example_gen.plan import Counts
from components.example_gen.repeats import SAME_ID, SAME_SOUND, DropNearDuplicates, KeepFirst
from components.example_gen.settings import DROP, IngestSettings
from components.example_gen.tracks import Examined

# What `beam.CoGroupByKey` gives for a key: values by the name of their side.
_Joined = dict[str, list[Any]]


class Decided(NamedTuple):
    """What is decided.

    Attributes:
      tracks: Every file, `Examined`, with a split or with a fault.
      pairs: Rows of near-duplicates: a `NearDuplicate` with the splits of both, None for a track
        that was left out, and `across_splits`.
      unmatched: Ids on the split lists that are not in the data.
    """

    tracks: beam.PCollection[Examined]
    pairs: beam.PCollection[dict[str, Any]]
    unmatched: beam.PCollection[str]


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
def Decide(  # noqa: N802
    examined: beam.PCollection[Examined],
    labels: beam.PCollection[tuple[str, str]] | None = None,
    *,
    settings: IngestSettings,
    files: int,
) -> Decided:
    """Accepts or leaves out every file and assigns the accepted ones to splits.

    `listed` leaves out tracks on no list first. Of exact duplicates, and then of files with the
    same track id, the first by path is accepted; a track that loses its id to another one is the
    first of its sound all the same. Of near-duplicates all are accepted, or with `drop` the first.

    Args:
      examined: Every audio file.
      labels: By track id, its split on the published lists or its artist; None for `stratified`.
      settings: Ingest settings.
      files: About the number of files, by which the search for near-duplicates is divided.
    """
    listed = settings.split.method == "listed"
    # Fingerprints go their own way, so that the other steps pass on few bytes a track.
    fingerprints = examined | "Fingerprints" >> beam.FlatMap(_fingerprint)
    labelled = examined | "WithoutFingerprint" >> beam.Map(dataclasses.replace, fingerprint=b"")
    if labels is not None:
        labelled = labelled | "Label" >> _Label(labels, listed)
    kept = (
        labelled
        | "KeepFirstOfSound" >> KeepFirst(SAME_SOUND)
        | "KeepFirstOfId" >> KeepFirst(SAME_ID)
    )
    pairs = (
        {"fingerprints": fingerprints, "kept": kept | "Kept" >> beam.FlatMap(_path_of_accepted)}
        | "FingerprintOfKept" >> beam.CoGroupByKey()
        | "ToSearch" >> beam.FlatMapTuple(_fingerprint_of_kept)
        | "FindNearDuplicates" >> FindNearDuplicates(parts=parts_for(files))
    )
    if settings.duplicates == DROP:
        kept = kept | "DropNearDuplicates" >> DropNearDuplicates(pairs)
    placed = kept | "AssignSplits" >> AssignSplits(settings=settings.split)
    return Decided(
        tracks=placed,
        pairs=pairs | "SplitsOfPairs" >> _SplitsOfPairs(placed),
        unmatched=placed
        | "Unmatched" >> (_Unmatched(labels) if listed else beam.FlatMap(lambda _: ())),
    )


@beam.ptransform_fn
def Count(decided: Decided) -> beam.PCollection[Counts]:  # noqa: N802
    """Counts what `Decide` decided; one element."""
    return (
        (
            decided.tracks | "CountTracks" >> beam.FlatMap(_count_track),
            decided.pairs | "CountPairs" >> beam.FlatMap(_count_pair),
            decided.unmatched | "CountUnmatched" >> beam.Map(lambda _: (("unmatched",), 1)),
        )
        | "All" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
        | "Sums" >> beam.combiners.ToDict()
        | "Counts" >> beam.Map(_to_counts)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Counts)
@beam.typehints.with_output_types(Counts)
def Judge(  # noqa: N802
    counts: beam.PCollection[Counts], *, settings: IngestSettings, output: str
) -> beam.PCollection[Counts]:
    """Decides whether records are written.

    Args:
      counts: One element.
      settings: Ingest settings.
      output: Where the records will go; none are written if the disk there has no room.

    Returns:
      The counts with `failure`.
    """
    return counts | "Judge" >> beam.Map(_judge, settings, output)


def _fingerprint(track: Examined) -> Iterator[tuple[str, bytes]]:
    if track.fingerprint and not track.fault:
        yield track.path, track.fingerprint


def _path_of_accepted(track: Examined) -> Iterator[tuple[str, None]]:
    if not track.fault:
        yield track.path, None


def _fingerprint_of_kept(path: str, joined: _Joined) -> Iterator[tuple[str, bytes]]:
    if joined["kept"]:
        for fingerprint in joined["fingerprints"]:
            yield path, fingerprint


@beam.ptransform_fn
def _Label(  # noqa: N802
    examined: beam.PCollection[Examined], labels: beam.PCollection[tuple[str, str]], listed: bool
) -> beam.PCollection[Examined]:
    """Gives each track its label; `listed` leaves out those without one."""
    by_id = examined | "ById" >> beam.Map(lambda track: (track.track_id, track))
    return (
        {"tracks": by_id, "label": labels}
        | "WithLabel" >> beam.CoGroupByKey()
        | "Label" >> beam.FlatMapTuple(lambda _, joined: _label(joined, listed))
    )


def _label(joined: _Joined, listed: bool) -> Iterator[Examined]:
    label = next(iter(joined["label"]), "")
    for track in joined["tracks"]:
        if listed and not label and not track.fault:
            yield track.left_out(tracks.NOT_LISTED, "on none of the split lists")
        else:
            yield dataclasses.replace(track, label=label)


@beam.ptransform_fn
def _SplitsOfPairs(  # noqa: N802
    pairs: beam.PCollection[NearDuplicate], placed: beam.PCollection[Examined]
) -> beam.PCollection[dict[str, Any]]:
    split_of = placed | "Split" >> beam.Map(lambda track: (track.path, track.split or None))
    rows = pairs | "Rows" >> beam.Map(lambda pair: (vars(pair), ()))
    for side in ("first", "second"):
        by_path = rows | f"By_{side}" >> beam.Map(lambda row, side: (row[0][side], row), side)
        rows = (
            {"rows": by_path, "split": split_of}
            | f"SplitOf_{side}" >> beam.CoGroupByKey()
            | f"With_{side}" >> beam.FlatMapTuple(_with_split)
        )
    return rows | "Row" >> beam.MapTuple(_pair_row)


def _with_split(
    path: str, joined: _Joined
) -> Iterator[tuple[dict[str, Any], tuple[str | None, ...]]]:
    for pair, splits in joined["rows"]:
        yield pair, (*splits, *joined["split"])


def _pair_row(pair: dict[str, Any], splits: tuple[str | None, ...]) -> dict[str, Any]:
    across = None not in splits and splits[0] != splits[1]
    return {**pair, "splits": list(splits), "across_splits": across}


@beam.ptransform_fn
def _Unmatched(  # noqa: N802
    placed: beam.PCollection[Examined], labels: beam.PCollection[tuple[str, str]]
) -> beam.PCollection[str]:
    """Ids on the split lists that no accepted track has."""
    accepted = placed | "Accepted" >> beam.Filter(lambda track: not track.fault)
    by_id = accepted | "IdOfAccepted" >> beam.Map(lambda track: (track.track_id, None))
    return (
        {"labels": labels, "placed": by_id}
        | "OnLists" >> beam.CoGroupByKey()
        | "Lacking" >> beam.FlatMapTuple(lambda track_id, on: () if on["placed"] else (track_id,))
    )


def _count_track(track: Examined) -> Iterator[tuple[tuple[str, ...], int]]:
    if track.fault:
        yield ("left_out", track.fault), 1
        return
    yield ("tracks", track.genre, track.split), 1
    yield ("audio_bytes",), track.audio_bytes
    yield ("rates", str(track.source_sample_rate_hz)), 1


def _count_pair(row: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
    yield ("near_duplicates",), 1
    if row["across_splits"]:
        yield ("leaks",), 1


def _to_counts(sums: dict[tuple[str, ...], int]) -> Counts:
    single: dict[str, Any] = {key[0]: number for key, number in sums.items() if len(key) == 1}
    return Counts(
        tracks={(key[1], key[2]): number for key, number in sums.items() if key[0] == "tracks"},
        left_out={key[1]: number for key, number in sums.items() if key[0] == "left_out"},
        sample_rates_hz={int(key[1]): number for key, number in sums.items() if key[0] == "rates"},
        **single,
    )


def _judge(counts: Counts, settings: IngestSettings, output: str) -> Counts:
    failure = plan.failure(counts, settings)
    shortage = storage.shortage(output, counts.audio_bytes)
    if shortage and not failure:
        failure = f"{shortage} for the records of {counts.accepted} tracks"
    return dataclasses.replace(counts, failure=failure)
