"""Assigns tracks to splits: each by its own hash, or its artist's, with a global step over counts.

The hash decides for each track by itself. Counts by genre and split say which genres have under a
minimum in a split; only the groups (tracks, or artists) of those are gathered, as some may move.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from components.example_gen.settings import SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from components.gtzan.splits import Group

_Held = dict[str, int]  # number of a group's tracks by genre
# Number of tracks by genre and split, by the hash alone, and the genres that lack some.
_Counts = tuple[dict[tuple[str, str], int], frozenset[str]]
_IN_SPLIT, _SHARED = "in split", "shared"  # what is counted: tracks of a genre, artists of two


@beam.ptransform_fn
@beam.typehints.with_input_types(Examined)
@beam.typehints.with_output_types(Examined)
def AssignSplits(  # noqa: N802 - a PTransform is named as a class
    tracks: beam.PCollection[Examined], *, settings: SplitSettings
) -> beam.PCollection[Examined]:
    """Gives every track without a fault its split.

    Args:
      tracks: Tracks, each with its artist or "" as its label, or for `listed` with its split.
      settings: How tracks are assigned to splits.
    """
    if settings.method == "listed":
        return tracks | "AsListed" >> beam.Map(_as_listed)
    groups = (
        tracks
        | "GenreOfGroup" >> beam.FlatMap(_genre_of_group)
        | "GenresOfGroup" >> beam.CombinePerKey(_add_up)
    )
    moved = groups | "Move" >> _Move(settings)
    return tracks | "Place" >> beam.Map(_place, AsSingleton(moved), settings)


@beam.ptransform_fn
def _Move(  # noqa: N802
    groups: beam.PCollection[tuple[Group, _Held]], settings: SplitSettings
) -> beam.PCollection[dict[Group, str]]:
    """One element: the new split of each group that moves; in most data sets none does."""
    counts = (
        groups
        | "CountEach" >> beam.FlatMap(_counts_of, settings)
        | "Count" >> beam.CombinePerKey(sum)
        | "Gather" >> beam.combiners.ToDict()
        | "Counts" >> beam.Map(_to_counts, settings)
    )
    return (
        groups
        | "OfShortGenres" >> beam.Filter(_may_move, AsSingleton(counts))
        | "Candidates" >> beam.combiners.ToDict()
        | "FillUp" >> beam.Map(_fill_up, AsSingleton(counts), settings)
    )


def _as_listed(track: Examined) -> Examined:
    return track if track.fault else dataclasses.replace(track, split=track.label)


def _group(track: Examined) -> Group:
    return splits.group_of(track.track_id, track.label)


def _genre_of_group(track: Examined) -> Iterator[tuple[Group, _Held]]:
    if not track.fault:
        yield _group(track), {track.genre: 1}


def _add_up(held: Iterable[_Held]) -> _Held:
    total: collections.Counter[str] = collections.Counter()
    for tracks_by_genre in held:
        total.update(tracks_by_genre)
    return dict(total)


def _hashed(group: Group, settings: SplitSettings) -> str:
    return splits.by_hash(group, seed=settings.seed, ratios=settings.ratios)


def _counts_of(
    item: tuple[Group, _Held], settings: SplitSettings
) -> Iterator[tuple[tuple[str, str, str], int]]:
    group, held = item
    for genre, number in held.items():
        yield (_IN_SPLIT, genre, _hashed(group, settings)), number
    for genre, other in itertools.combinations(sorted(held), 2):
        yield (_SHARED, genre, other), 1


def _to_counts(sums: dict[tuple[str, str, str], int], settings: SplitSettings) -> _Counts:
    by_hash = {(genre, split): n for (kind, genre, split), n in sums.items() if kind == _IN_SPLIT}
    shared = [(genre, other) for kind, genre, other in sums if kind == _SHARED]
    return by_hash, splits.short_genres(by_hash, shared, settings.ratios)


def _may_move(group: tuple[Group, _Held], counts: _Counts) -> bool:
    return not counts[1].isdisjoint(group[1])


def _fill_up(
    candidates: dict[Group, _Held], counts: _Counts, settings: SplitSettings
) -> dict[Group, str]:
    return splits.fill_up(candidates, counts[0], seed=settings.seed, ratios=settings.ratios)


def _place(track: Examined, moved: dict[Group, str], settings: SplitSettings) -> Examined:
    if track.fault:
        return track
    group = _group(track)
    return dataclasses.replace(track, split=moved.get(group) or _hashed(group, settings))
