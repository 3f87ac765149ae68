"""Assigns tracks to splits: each by its own hash, or its artist's, with a global step over counts.

The hash decides for each track by itself. Counts by genre and split say which genres have under a
minimum in a split; only of those are groups (tracks, or artists) gathered that may move: those
nearest to the split. The result is that of `splits.by_artist`, which moves the nearest first.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from components.example_gen.repeats import Labelled
from components.example_gen.settings import SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from components.gtzan.splits import Group

# So many groups of a genre may move from one split to another. A genre with no more is gathered as
# a whole, so its splits are those of `splits.by_artist`; in a larger one they could differ only if
# more had to move.
MOST_CANDIDATES = 1000

# A track and its split.
Placed = tuple[str, Examined]
_Held = dict[str, int]  # number of a group's tracks by genre
_IN_SPLIT, _SHARED = "in split", "shared"  # what is counted: tracks of a genre, artists of two


@beam.ptransform_fn
@beam.typehints.with_input_types(Labelled)
@beam.typehints.with_output_types(Placed)
def AssignSplits(  # noqa: N802
    labelled: beam.PCollection[Labelled],
    *,
    settings: SplitSettings,
    most_candidates: int = MOST_CANDIDATES,
) -> beam.PCollection[Placed]:
    """Gives every track its split.

    Args:
      labelled: Unique tracks, each with its artist or "", or for `listed` with its split.
      settings: How tracks are assigned to splits.
      most_candidates: Most groups that are gathered of a genre, to go from one split to another.
    """
    if settings.method == "listed":
        return labelled | "AsListed" >> beam.Map(lambda one: one)
    by_group = labelled | "Group" >> beam.Map(_with_group)
    groups = (
        by_group
        | "Genre" >> beam.MapTuple(lambda group, track: (group, {track.genre: 1}))
        | "GenresOfGroup" >> beam.CombinePerKey(_add_up)
    )
    moved = groups | "Move" >> _Move(settings, most_candidates)
    return by_group | "Place" >> beam.Map(_place, AsSingleton(moved), settings)


@beam.ptransform_fn
def _Move(  # noqa: N802
    groups: beam.PCollection[tuple[Group, _Held]], settings: SplitSettings, most_candidates: int
) -> beam.PCollection[dict[Group, str]]:
    """One element: the new split of each group that moves; in most data sets none does."""
    counts = (
        groups
        | "CountEach" >> beam.FlatMap(_counts_of, settings)
        | "Count" >> beam.CombinePerKey(sum)
        | "Gather" >> beam.combiners.ToList()
        | "Counts" >> beam.Map(_to_counts, settings)
    )
    return (
        groups
        | "Candidates" >> beam.FlatMap(_candidates, AsSingleton(counts), settings)
        | "Nearest" >> beam.combiners.Top.PerKey(most_candidates, reverse=True, key=_distance)
        | "OfAll" >> beam.FlatMap(lambda one: one[1])
        | "AllCandidates" >> beam.combiners.ToList()
        | "FillUp" >> beam.Map(_fill_up, AsSingleton(counts), settings)
    )


def _with_group(labelled: Labelled) -> tuple[Group, Examined]:
    artist, track = labelled
    return splits.group(track.track_id, artist), track


def _add_up(held: Iterable[_Held]) -> _Held:
    total: collections.Counter[str] = collections.Counter()
    for one in held:
        total.update(one)
    return dict(total)


def _hashed(group: Group, settings: SplitSettings) -> str:
    return splits.by_hash(group, seed=settings.seed, ratios=settings.ratios)


def _counts_of(
    item: tuple[Group, _Held], settings: SplitSettings
) -> Iterator[tuple[tuple[str, str, str], int]]:
    group, held = item
    for genre, number in held.items():
        yield (_IN_SPLIT, genre, _hashed(group, settings)), number
    for one, other in itertools.combinations(sorted(held), 2):
        yield (_SHARED, one, other), 1


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Number of tracks by genre and split, by the hash alone, and the genres that lack some."""

    by_hash: dict[tuple[str, str], int]
    short: frozenset[str]


def _to_counts(
    sums: Iterable[tuple[tuple[str, str, str], int]], settings: SplitSettings
) -> _Counts:
    sums = list(sums)
    by_hash = {(genre, split): n for (kind, genre, split), n in sums if kind == _IN_SPLIT}
    shared = [(one, other) for (kind, one, other), _ in sums if kind == _SHARED]
    return _Counts(by_hash, splits.short_genres(by_hash, shared, settings.ratios))


_Candidate = tuple[float, Group, _Held]  # how far it is from the split that it may move to


def _candidates(
    item: tuple[Group, _Held], counts: _Counts, settings: SplitSettings
) -> Iterator[tuple[tuple[str, str, str], _Candidate]]:
    group, held = item
    concerned = sorted(counts.short & held.keys())
    if not concerned:
        return
    source = _hashed(group, settings)
    for genre, target in itertools.product(concerned, splits.SPLITS):
        if target != source:
            distance = splits.distance(group, target, seed=settings.seed, ratios=settings.ratios)
            yield (genre, target, source), (distance, group, held)


def _distance(candidate: _Candidate) -> tuple[float, Group]:
    return candidate[:2]


def _fill_up(
    candidates: Iterable[_Candidate], counts: _Counts, settings: SplitSettings
) -> dict[Group, str]:
    held = {group: members for _, group, members in candidates}
    return splits.fill_up(held, counts.by_hash, seed=settings.seed, ratios=settings.ratios)


def _place(
    item: tuple[Group, Examined], moved: dict[Group, str], settings: SplitSettings
) -> Placed:
    group, track = item
    return moved.get(group) or _hashed(group, settings), track
