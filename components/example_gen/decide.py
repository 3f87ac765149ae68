"""Decides on every examined file: who is left out, and which split each track goes to.

Tracks stay a PCollection throughout. What must be known of all of them is known in numbers
(`Counts`), and what two tracks have to do with each other is found by key.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from components.common import storage
from components.example_gen import plan, tracks
from components.example_gen.assign import AssignSplits, Placed
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.joins import Join, Joined, first, keyed, side
from components.example_gen.near_duplicates import FindNearDuplicates, parts_for
from components.example_gen.plan import Counts, Decision
from components.example_gen.repeats import DropNearDuplicates, KeepFirst
from components.example_gen.settings import DROP, IngestSettings
from components.example_gen.tracks import Examined

# PCollections by name.
Parts = dict[str, beam.PCollection[Any]]


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
def Decide(  # noqa: N802
    examined: beam.PCollection[Examined],
    labels: beam.PCollection[tuple[str, str]] | None = None,
    *,
    settings: IngestSettings,
    files: int,
) -> Parts:
    """Accepts or rejects every file and assigns the accepted ones to splits.

    Of exact duplicates, and of files with the same track id, the first by path is accepted.
    `listed` leaves out tracks on no list before that. Of near-duplicates all are accepted, or with
    `drop` the first by path.

    Args:
      examined: Every audio file.
      labels: By track id, its split on the published lists or its artist, for the split methods
        `listed` and `artist`.
      settings: Ingest settings.
      files: About the number of files, by which the search for near-duplicates is divided.

    Returns:
      `placed` (`Placed`: accepted tracks with their split), `left_out` (`Examined`: all other files
      with their fault and detail), `near_duplicates` (rows: a `NearDuplicate` with the splits of
      both, None for a track that was left out, and `across_splits`) and `unmatched` (ids on the
      split lists that are not in the data).
    """
    listed = settings.split.method == "listed"
    sorted_out = examined | "SortOut" >> beam.ParDo(_SortOut()).with_outputs(
        "faulty", "words", main="usable"
    )
    left_out = [sorted_out["faulty"]]
    if labels is None:
        labelled = sorted_out["usable"] | "NoLabel" >> beam.Map(lambda track: ("", track))
    else:
        joined = {"tracks": sorted_out["usable"], "labels": labels} | "Label" >> _Label(listed)
        labelled = joined["labelled"]
        left_out.append(joined["left_out"])
    kept = labelled | "KeepFirst" >> KeepFirst()
    left_out.append(kept["left_out"])
    unique = kept["unique"]
    pairs = (
        (
            keyed(sorted_out["words"], "words", lambda one: one[0], lambda one: one[1]),
            keyed(unique, "unique", lambda one: one[1].path, lambda _: None),
        )
        | "WordsOfUnique" >> Join()
        | "Heard" >> beam.FlatMap(_heard)
        | "FindNearDuplicates" >> FindNearDuplicates(parts=parts_for(files))
    )
    if settings.duplicates == DROP:
        dropped = unique | "DropNearDuplicates" >> DropNearDuplicates(pairs)
        unique = dropped["unique"]
        left_out.append(dropped["left_out"])
    placed = unique | "AssignSplits" >> AssignSplits(settings=settings.split)
    if listed:
        unmatched = {"labels": labels, "placed": placed} | "Unmatched" >> _Unmatched()
    else:
        unmatched = placed | "NoLists" >> beam.FlatMap(lambda _: ())
    return {
        "placed": placed,
        "left_out": left_out | "LeftOut" >> beam.Flatten(),
        "near_duplicates": {"pairs": pairs, "placed": placed} | "SplitsOfPairs" >> _SplitsOfPairs(),
        "unmatched": unmatched,
    }


@beam.ptransform_fn
def Count(parts: Parts) -> beam.PCollection[Counts]:  # noqa: N802
    """Counts what `Decide` decided; one element."""
    return (
        (
            parts["placed"] | "CountPlaced" >> beam.FlatMap(_count_placed),
            parts["left_out"] | "CountLeftOut" >> beam.Map(_count_left_out),
            parts["near_duplicates"] | "CountPairs" >> beam.FlatMap(_count_pair),
            parts["unmatched"] | "CountUnmatched" >> beam.Map(lambda _: (("unmatched",), 1)),
        )
        | "All" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
        | "Sums" >> beam.combiners.ToDict()
        | "Counts" >> beam.Map(_to_counts)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Counts)
@beam.typehints.with_output_types(Decision)
def Judge(  # noqa: N802
    counts: beam.PCollection[Counts], *, settings: IngestSettings, output: str
) -> beam.PCollection[Decision]:
    """Decides whether records are written.

    Args:
      counts: One element.
      settings: Ingest settings.
      output: Where the records will go; none are written if the disk there has no room.
    """
    return counts | "Judge" >> beam.Map(_judge, settings, output)


class _SortOut(beam.DoFn):
    """Fingerprints go their own way, so that the other steps pass on few bytes a track."""

    def process(self, track: Examined) -> Iterator[Any]:
        if track.fault:
            yield TaggedOutput("faulty", track)
            return
        if track.fingerprint:
            yield TaggedOutput("words", (track.path, track.fingerprint))
        yield dataclasses.replace(track, fingerprint=b"")


@beam.ptransform_fn
def _Label(parts: Parts, listed: bool) -> Parts:  # noqa: N802
    labelled = (
        (
            keyed(parts["tracks"], "tracks", lambda track: track.track_id),
            keyed(parts["labels"], "label", lambda one: one[0], lambda one: one[1]),
        )
        | "Join" >> Join()
        | "Label" >> beam.FlatMap(_label, listed).with_outputs("left_out", main="labelled")
    )
    return {"labelled": labelled["labelled"], "left_out": labelled["left_out"]}


def _label(joined: Joined, listed: bool) -> Iterator[Any]:
    label = first(joined, "label", "")
    for track in side(joined, "tracks"):
        if listed and not label:
            detail = "on none of the split lists"
            yield TaggedOutput("left_out", tracks.leave_out(track, tracks.NOT_LISTED, detail))
        else:
            yield label, track


def _heard(joined: Joined) -> Iterator[tuple[str, bytes]]:
    if any(True for _ in side(joined, "unique")):
        for words in side(joined, "words"):
            yield joined[0], words


@beam.ptransform_fn
def _SplitsOfPairs(parts: Parts) -> beam.PCollection[dict[str, Any]]:  # noqa: N802
    split_of = keyed(parts["placed"], "split", lambda one: one[1].path, lambda one: one[0])
    half_known = (
        (keyed(parts["pairs"], "pairs", lambda pair: pair.first, lambda pair: (pair, ())), split_of)
        | "OfFirst" >> Join()
        | "SplitOfFirst" >> beam.FlatMap(_with_split)
    )
    return (
        (keyed(half_known, "half_known", lambda one: one[0].second), split_of)
        | "OfSecond" >> Join()
        | "SplitOfSecond" >> beam.FlatMap(_with_split)
        | "Row" >> beam.MapTuple(_pair_row)
    )


def _with_split(joined: Joined) -> Iterator[tuple[NearDuplicate, tuple[str | None, ...]]]:
    """Adds the split of one track of each pair."""
    split = first(joined, "split")
    for name in ("pairs", "half_known"):
        for pair, sides in side(joined, name):
            yield pair, (*sides, split)


def _pair_row(pair: NearDuplicate, sides: tuple[str | None, ...]) -> dict[str, Any]:
    across = None not in sides and sides[0] != sides[1]
    return {**vars(pair), "splits": list(sides), "across_splits": across}


@beam.ptransform_fn
def _Unmatched(parts: Parts) -> beam.PCollection[str]:  # noqa: N802
    return (
        (
            keyed(parts["labels"], "label", lambda one: one[0], lambda _: None),
            keyed(parts["placed"], "placed", lambda one: one[1].track_id, lambda _: None),
        )
        | "Join" >> Join()
        | "Lacking" >> beam.FlatMap(_lacking)
    )


def _lacking(joined: Joined) -> Iterator[str]:
    if not any(True for _ in side(joined, "placed")):
        yield joined[0]


def _count_placed(placed: Placed) -> Iterator[tuple[tuple[str, ...], int]]:
    split, track = placed
    yield ("tracks", track.genre, split), 1
    yield ("audio_bytes",), track.audio_bytes
    yield ("rates", str(track.source_sample_rate_hz)), 1


def _count_left_out(track: Examined) -> tuple[tuple[str, ...], int]:
    return ("left_out", track.fault), 1


def _count_pair(row: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
    yield ("near_duplicates",), 1
    if row["across_splits"]:
        yield ("leaks",), 1


def _to_counts(sums: dict[tuple[str, ...], int]) -> Counts:
    single = {key[0]: number for key, number in sums.items() if len(key) == 1}
    return Counts(
        tracks={(key[1], key[2]): number for key, number in sums.items() if key[0] == "tracks"},
        left_out={key[1]: number for key, number in sums.items() if key[0] == "left_out"},
        sample_rates_hz={int(key[1]): number for key, number in sums.items() if key[0] == "rates"},
        **single,
    )


def _judge(counts: Counts, settings: IngestSettings, output: str) -> Decision:
    failure = plan.failure(counts, settings)
    shortage = storage.shortage(output, counts.audio_bytes)
    if shortage and not failure:
        failure = f"{shortage} for the records of {counts.accepted} tracks"
    return Decision(failure, counts.splits())
