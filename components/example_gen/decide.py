"""Decides on every examined file: who is left out, and which split each track goes to.

All files stay in one PCollection throughout: one that is left out has a fault, the others get a
split. What two tracks have to do with each other is found by key.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from components.example_gen import tracks
from components.example_gen.assign import AssignSplits
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.near_duplicates import FindNearDuplicates, parts_for
from components.example_gen.repeats import SAME_ID, SAME_SOUND, DropNearDuplicates, KeepFirst
from components.example_gen.settings import DROP, IngestSettings
from components.example_gen.tracks import Examined

# What `beam.CoGroupByKey` gives for a key: values by the name of their side.
_Joined = dict[str, list[Any]]


class Decided(NamedTuple):
    """What is decided.

    Attributes:
      tracks: Every file, `Examined`, with a split or with a fault.
      pairs: Near-duplicates, with the splits of both.
      unmatched: Ids on the split lists that are not in the data.
    """

    tracks: beam.PCollection[Examined]
    pairs: beam.PCollection[NearDuplicate]
    unmatched: beam.PCollection[str]


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
def Decide(  # noqa: N802 - a PTransform is named as a class
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
    unique = (
        labelled
        | "KeepFirstOfSound" >> KeepFirst(SAME_SOUND)
        | "KeepFirstOfId" >> KeepFirst(SAME_ID)
    )
    pairs = (
        {"fingerprints": fingerprints, "unique": unique | "Accepted" >> beam.FlatMap(_accepted)}
        | "FingerprintOfUnique" >> beam.CoGroupByKey()
        | "ToSearch" >> beam.FlatMapTuple(_fingerprint_of_unique)
        | "FindNearDuplicates" >> FindNearDuplicates(parts=parts_for(files))
    )
    if settings.duplicates == DROP:
        unique = unique | "DropNearDuplicates" >> DropNearDuplicates(pairs)
    placed = unique | "AssignSplits" >> AssignSplits(settings=settings.split)
    return Decided(
        tracks=placed,
        pairs=pairs | "SplitsOfPairs" >> _SplitsOfPairs(placed),
        unmatched=placed
        | "Unmatched" >> (_Unmatched(labels) if listed else beam.FlatMap(lambda _: ())),
    )


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


@beam.ptransform_fn
def _SplitsOfPairs(  # noqa: N802
    pairs: beam.PCollection[NearDuplicate], placed: beam.PCollection[Examined]
) -> beam.PCollection[NearDuplicate]:
    """Joins the pairs with the split of the first, then with that of the second."""
    split_of = placed | "Split" >> beam.Map(lambda track: (track.path, track.split or None))
    for side in ("first", "second"):
        by_path = pairs | f"By_{side}" >> beam.Map(
            lambda pair, side: (vars(pair)[side], pair), side
        )
        pairs = (
            {"pairs": by_path, "split": split_of}
            | f"SplitOf_{side}" >> beam.CoGroupByKey()
            | f"With_{side}" >> beam.FlatMapTuple(_with_split)
        )
    return pairs


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


def _fingerprint(track: Examined) -> Iterator[tuple[str, bytes]]:
    if track.fingerprint and not track.fault:
        yield track.path, track.fingerprint


def _accepted(track: Examined) -> Iterator[tuple[str, None]]:
    if not track.fault:
        yield track.path, None


def _fingerprint_of_unique(path: str, joined: _Joined) -> Iterator[tuple[str, bytes]]:
    if joined["unique"]:
        for fingerprint in joined["fingerprints"]:
            yield path, fingerprint


def _label(joined: _Joined, listed: bool) -> Iterator[Examined]:
    label = next(iter(joined["label"]), "")
    for track in joined["tracks"]:
        if listed and not label and not track.fault:
            yield track.left_out(tracks.NOT_LISTED, "on none of the split lists")
        else:
            yield dataclasses.replace(track, label=label)


def _with_split(_: str, joined: _Joined) -> Iterator[NearDuplicate]:
    for pair in joined["pairs"]:
        yield dataclasses.replace(pair, splits=(*pair.splits, *joined["split"]))
