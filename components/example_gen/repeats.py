"""Keeps a track once: exact duplicates by the hash of their sound, equal ids, near-duplicates."""

import collections
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from components.example_gen import tracks
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.joins import Join, Joined, first, keyed, side
from components.example_gen.tracks import Examined

# What a track's split depends on (its artist, its split by a published list, or ""), and the track.
Labelled = tuple[str, Examined]

_LEFT_OUT = "left_out"


class _Step(NamedTuple):
    """What is equal, the reason to leave a repeat out, and how it names the first."""

    attribute: str
    reason: str
    says: str


_CONTENT = _Step("content", tracks.DUPLICATE, "duplicate of")
_TRACK_ID = _Step("track_id", tracks.SAME_ID, "same track id as")


@beam.ptransform_fn
@beam.typehints.with_input_types(Labelled)
def KeepFirst(  # noqa: N802
    labelled: beam.PCollection[Labelled],
) -> dict[str, beam.PCollection[Any]]:
    """Keeps the first by path of exact duplicates, then the first of tracks with the same id.

    A track that loses its id to another one is the first of its sound all the same. No step holds
    more than one track's facts, however many copies of one file there are.

    Returns:
      `unique`, the tracks that are kept (`Labelled`), and `left_out`, the others (`Examined`),
      which name the first.
    """
    of_sound = labelled | "OfSound" >> _OfEach(_CONTENT)
    of_id = of_sound["unique"] | "OfId" >> _OfEach(_TRACK_ID)
    left_out = (of_sound["left_out"], of_id["left_out"]) | "LeftOut" >> beam.Flatten()
    return {"unique": of_id["unique"], "left_out": left_out}


def keep_first(members: Iterable[Examined]) -> tuple[list[Examined], list[Examined]]:
    """Does what `KeepFirst` does, on a list.

    Args:
      members: Tracks without a fault.

    Returns:
      The unique tracks, and those left out, which name the first; each by path.
    """
    unique: list[Labelled] = [("", track) for track in members]
    left_out: list[Examined] = []
    for step in (_CONTENT, _TRACK_ID):
        groups: dict[str, list[Labelled]] = collections.defaultdict(list)
        for labelled in unique:
            groups[getattr(labelled[1], step.attribute)].append(labelled)
        unique = [_first(group) for group in groups.values()]
        left_out += [track for group in groups.values() for track in _repeats(group, step)]
    return sorted((track for _, track in unique), key=_path), sorted(left_out, key=_path)


@beam.ptransform_fn
def DropNearDuplicates(  # noqa: N802
    labelled: beam.PCollection[Labelled], pairs: beam.PCollection[NearDuplicate]
) -> dict[str, beam.PCollection[Any]]:
    """Keeps every track that is no near-duplicate of one that is kept before it, by path.

    All pairs come together in one element, two paths each: who is kept depends on who was kept
    before.

    Args:
      labelled: The tracks.
      pairs: The near-duplicates among them.

    Returns:
      `unique`, the tracks that are kept (`Labelled`), and `left_out`, the others (`Examined`).
    """
    originals = (
        pairs
        | "Paths" >> beam.Map(lambda pair: (pair.first, pair.second))
        | "GatherPaths" >> beam.combiners.ToList()
        | "Decide" >> beam.FlatMap(dropped)
    )
    parts = (
        (
            keyed(labelled, "labelled", lambda one: one[1].path),
            keyed(originals, "original", lambda one: one[0], lambda one: one[1]),
        )
        | "Join" >> Join()
        | "Drop" >> beam.FlatMap(_drop).with_outputs(_LEFT_OUT, main="unique")
    )
    return {"unique": parts["unique"], "left_out": parts[_LEFT_OUT]}


def dropped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yields the tracks that are dropped, each with the one that is kept instead.

    Args:
      pairs: Paths of two tracks that sound like one recording, the first in order first.
    """
    earlier: dict[str, list[str]] = collections.defaultdict(list)
    for one, other in sorted(pairs):
        earlier[other].append(one)
    gone = set()
    for path in sorted(earlier):
        original = next((one for one in earlier[path] if one not in gone), None)
        if original is not None:
            gone.add(path)
            yield path, original


@beam.ptransform_fn
def _OfEach(labelled: beam.PCollection[Labelled], step: _Step) -> dict[str, Any]:  # noqa: N802
    parts = (
        labelled
        | "Key" >> beam.Map(lambda one: (getattr(one[1], step.attribute), one))
        | "Group" >> beam.GroupByKey()
        | "First" >> beam.ParDo(_KeepFirst(step)).with_outputs(_LEFT_OUT, main="unique")
    )
    return {"unique": parts["unique"], "left_out": parts[_LEFT_OUT]}


class _KeepFirst(beam.DoFn):
    def __init__(self, step: _Step):
        self._step = step

    def process(self, item: tuple[str, Iterable[Labelled]]) -> Iterator[Any]:
        _, group = item  # may be read more than once
        yield _first(group)
        for track in _repeats(group, self._step):
            yield beam.pvalue.TaggedOutput(_LEFT_OUT, track)


def _first(group: Iterable[Labelled]) -> Labelled:
    return min(group, key=lambda labelled: labelled[1].path)


def _repeats(group: Iterable[Labelled], step: _Step) -> Iterator[Examined]:
    _, first = _first(group)
    for _, track in group:
        if track.path != first.path:
            yield tracks.leave_out(track, step.reason, f"{step.says} {first.path}")


def _path(track: Examined) -> str:
    return track.path


def _drop(joined: Joined) -> Iterator[Any]:
    original = first(joined, "original")
    for label, track in side(joined, "labelled"):
        if original is None:
            yield label, track
        else:
            detail = f"near-duplicate of {original}"
            left_out = tracks.leave_out(track, tracks.NEAR_DUPLICATE, detail)
            yield beam.pvalue.TaggedOutput(_LEFT_OUT, left_out)
