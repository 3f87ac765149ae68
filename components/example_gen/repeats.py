"""Keeps a recording once: exact duplicates by the hash of their sound, equal ids, near-duplicates.

A track that is not kept stays in its PCollection, with the reason as its fault.
"""

import collections
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from components.example_gen import tracks
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.tracks import Examined


class Repeat(NamedTuple):
    """What makes a track the repeat of another one.

    Attributes:
      attribute: What is equal, an attribute of `Examined`.
      reason: The reason to leave a repeat out.
      says: How its detail names the first.
    """

    attribute: str
    reason: str
    says: str

    def key(self, track: Examined) -> str:
        """Equal for tracks that are repeats of each other; of its own for one with a fault."""
        return f"\0{track.path}" if track.fault else getattr(track, self.attribute)

    def keep_first(self, group: Iterable[Examined]) -> Iterator[Examined]:
        """Leaves out all tracks of one key but the first by path.

        Args:
          group: The tracks; they are read twice, and not held.
        """
        first = min(track.path for track in group)
        for track in group:
            repeated = track.path != first
            yield track.left_out(self.reason, f"{self.says} {first}") if repeated else track


SAME_SOUND = Repeat("content", tracks.DUPLICATE, "duplicate of")
SAME_ID = Repeat("track_id", tracks.SAME_ID, "same track id as")


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(Examined)
def KeepFirst(  # noqa: N802 - a PTransform is named as a class
    examined: beam.PCollection[Examined], repeat: Repeat
) -> beam.PCollection[Examined]:
    """Leaves out every repeat of a track. No step holds a group, however many copies there are."""
    return (
        examined
        | "Key" >> beam.Map(lambda track: (repeat.key(track), track))
        | "Group" >> beam.GroupByKey()
        | "First" >> beam.FlatMapTuple(lambda _, group: repeat.keep_first(group))
    )


def keep_first(examined: Iterable[Examined]) -> list[Examined]:
    """Does on a list what `KeepFirst` does for `SAME_SOUND` and then for `SAME_ID`."""
    for repeat in (SAME_SOUND, SAME_ID):
        groups: dict[str, list[Examined]] = collections.defaultdict(list)
        for track in examined:
            groups[repeat.key(track)].append(track)
        examined = [track for group in groups.values() for track in repeat.keep_first(group)]
    return sorted(examined, key=lambda track: track.path)


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(Examined)
def DropNearDuplicates(  # noqa: N802
    examined: beam.PCollection[Examined], pairs: beam.PCollection[NearDuplicate]
) -> beam.PCollection[Examined]:
    """Leaves out every near-duplicate of a track that is kept before it, by path.

    All pairs come together in one element, two paths each: who is kept depends on who was kept
    before.

    Args:
      examined: The tracks.
      pairs: The near-duplicates among those without a fault.
    """
    originals = (
        pairs
        | "Paths" >> beam.Map(lambda pair: (pair.first, pair.second))
        | "GatherPaths" >> beam.combiners.ToList()
        | "Dropped" >> beam.FlatMap(dropped)
    )
    by_path = examined | "ByPath" >> beam.Map(lambda track: (track.path, track))
    return (
        {"tracks": by_path, "original": originals}
        | "WithOriginal" >> beam.CoGroupByKey()
        | "Drop" >> beam.FlatMapTuple(_drop)
    )


def dropped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yields the tracks that are dropped, each with the one that is kept instead.

    Args:
      pairs: Paths of two tracks that sound like one recording, the first in order first.
    """
    earlier: dict[str, list[str]] = collections.defaultdict(list)
    for first, second in sorted(pairs):
        earlier[second].append(first)
    gone = set()
    for path in sorted(earlier):
        original = next((first for first in earlier[path] if first not in gone), None)
        if original is not None:
            gone.add(path)
            yield path, original


def _drop(_: str, joined: dict[str, list[Any]]) -> Iterator[Examined]:
    for track in joined["tracks"]:
        if joined["original"]:
            detail = f"near-duplicate of {joined['original'][0]}"
            yield track.left_out(tracks.NEAR_DUPLICATE, detail)
        else:
            yield track
