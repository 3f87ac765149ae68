"""Assigns tracks to `train`, `validation` and `test`: pure functions on names.

Three methods (docs/explanation/splits.md):

* `stratified`: a seeded hash of each track's id in [0, 1); the lowest values are the test split,
  the highest the validation split. So a track keeps its split when others are added. Only if a
  genre then has fewer tracks in a split than its minimum (`minimum_tracks`) are tracks moved there:
  those whose hash is nearest to that split's range.
* `artist`: the same hash, of the artist; no artist in two splits. A track without an artist counts
  as an artist of its own. An artist is moved only if that takes no split below its minimum.
* `listed`: as published text files list the tracks.

`components/example_gen/assign.py` applies them to a PCollection of tracks.
"""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Collection, Iterable, Mapping

from components.common.errors import UserError

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
METHODS = ("stratified", "artist", "listed")

# What is kept on one side: "artist" or "track", and its name. Two name spaces, so that an artist
# named like a track does not swallow it.
Group = tuple[str, str]
# Number of tracks by genre and split.
Counts = Mapping[tuple[str, str], int]


class SplitError(UserError):
    """The tracks cannot be split as asked; the message tells the user why."""


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Shares of the validation and test splits; train has the rest.

    Attributes:
      validation: Share of the validation split, above 0.
      test: Share of the test split, above 0.
    """

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise SplitError(
                "split ratios must be above 0 and leave something to train on. "
                f"Received: validation={self.validation}, test={self.test}"
            )


def position(name: str, *, seed: int) -> float:
    """Hashes a name and a seed to a number in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def group_of(track: str, artist: str = "") -> Group:
    """What a track is kept together with: all of its artist, or itself if it has none."""
    return ("artist", artist) if artist else ("track", track)


def by_hash(group: Group, *, seed: int, ratios: Ratios) -> str:
    """The split that a group's hash says: test at the low end of [0, 1), validation at the high.

    Examples:
      >>> [by_hash(group_of(f"jazz.{n}"), seed=0, ratios=Ratios()) for n in range(3)]
      ['validation', 'train', 'train']
    """
    hashed = position(group[1], seed=seed)
    if hashed < ratios.test:
        return TEST
    return VALIDATION if hashed >= 1.0 - ratios.validation else TRAIN


def distance(group: Group, split: str, *, seed: int, ratios: Ratios) -> float:
    """How far a group's hash is from the one farthest inside a split's range; the nearest moves."""
    inside = {TEST: 0.0, VALIDATION: 1.0, TRAIN: (ratios.test + 1.0 - ratios.validation) / 2}
    return abs(position(group[1], seed=seed) - inside[split])


def listed(lists: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Turns published lists, track ids by split, into the split by track id.

    Raises:
      SplitError: A track is on two lists.

    Examples:
      >>> listed({"train": ["pop.0"], "validation": ["pop.1"], "test": ["pop.2"]})
      {'pop.0': 'train', 'pop.1': 'validation', 'pop.2': 'test'}
    """
    splits: dict[str, str] = {}
    for split, members in lists.items():
        for track in members:
            if splits.setdefault(track, split) != split:
                raise SplitError(
                    f"track {track} is on the lists of two splits. "
                    f"Received: {splits[track]} and {split}"
                )
    return splits


def absent(seen: Iterable[tuple[str, str]], genres: Iterable[str]) -> list[tuple[str, str]]:
    """Lists the pairs of one of `genres` and a split that are not among those `seen`.

    Examples:
      >>> absent([("pop", "train"), ("pop", "test")], ["pop"])
      [('pop', 'validation')]
    """
    pairs = set(seen)
    return [(g, split) for g in sorted(set(genres)) for split in SPLITS if (g, split) not in pairs]


def minimum_tracks(tracks: int, ratios: Ratios) -> dict[str, int]:
    """Minimum number of a genre's tracks in each split.

    It is so far below the expected number (at 100 tracks 6 for 15 and 56 for 70, about 2.5 to 3
    standard deviations) that hashing alone nearly always reaches it and no track has to move.

    Examples:
      >>> minimum_tracks(100, Ratios())
      {'test': 6, 'validation': 6, 'train': 56}
    """
    train = 1.0 - ratios.validation - ratios.test
    return {
        TEST: max(1, int(0.4 * ratios.test * tracks)),
        VALIDATION: max(1, int(0.4 * ratios.validation * tracks)),
        TRAIN: max(1, min(round(0.8 * train * tracks), tracks - 2)),
    }


def short_genres(
    counts: Counts, shared: Iterable[tuple[str, str]], ratios: Ratios
) -> frozenset[str]:
    """Genres in which `fill_up` may move tracks.

    Those are the genres with under a minimum in a split, and those that share an artist with one
    of them, directly or through others: moving that artist may take them below a minimum.

    Args:
      counts: By the hash alone.
      shared: Pairs of genres that share an artist.
      ratios: Shares of the splits.
    """
    minimums = _minimums(counts, ratios)
    short = {
        genre
        for genre, by_split in minimums.items()
        if any(counts.get((genre, split), 0) < least for split, least in by_split.items())
    }
    pairs = {frozenset(pair) for pair in shared}
    while reached := {genre for pair in pairs if pair & short for genre in pair} - short:
        short |= reached
    return frozenset(short)


def fill_up(
    candidates: Mapping[Group, Mapping[str, int]],
    counts: Counts,
    *,
    seed: int,
    ratios: Ratios,
) -> dict[Group, str]:
    """Moves groups until every genre has its minimum in every split or none can move.

    The first pass gives every split one track, the second the minimum; in one pass, filling up to
    the minimum could use tracks that another split needs. A move never takes a split of a genre
    below the minimum of its pass, so the loop ends.

    Args:
      candidates: Groups that may be moved, with their number of tracks by genre. To leave out
        those without one of the `short_genres` changes nothing.
      counts: Of all groups, by the hash alone.
      seed: Seed of the hash.
      ratios: Shares of the splits.

    Returns:
      The new split of each group that moved.
    """
    held = collections.Counter(counts)
    splits = {group: by_hash(group, seed=seed, ratios=ratios) for group in candidates}
    moved: dict[Group, str] = {}
    minimums = _minimums(counts, ratios)
    for least in ({genre: dict.fromkeys(SPLITS, 1) for genre in minimums}, minimums):
        for genre, split in itertools.product(sorted(minimums), SPLITS):
            while held[genre, split] < least[genre][split]:
                movable = _movable(candidates, splits, genre, split, held, least)
                if not movable:
                    break
                _, nearest = min(
                    (distance(group, split, seed=seed, ratios=ratios), group) for group in movable
                )
                for other, number in candidates[nearest].items():
                    held[other, splits[nearest]] -= number
                    held[other, split] += number
                splits[nearest] = moved[nearest] = split
    return moved


def _movable(
    candidates: Mapping[Group, Mapping[str, int]],
    splits: Mapping[Group, str],
    genre: str,
    split: str,
    held: Counts,
    least: Mapping[str, Mapping[str, int]],
) -> Collection[Group]:
    """Groups of a genre that may move to a split without taking another one below its minimum."""
    return [
        group
        for group, members in candidates.items()
        if genre in members
        and splits[group] != split
        and all(
            held[other, splits[group]] - number >= least[other][splits[group]]
            for other, number in members.items()
        )
    ]


def _minimums(counts: Counts, ratios: Ratios) -> dict[str, dict[str, int]]:
    sizes: collections.Counter[str] = collections.Counter()
    for (genre, _), number in counts.items():
        sizes[genre] += number
    return {genre: minimum_tracks(size, ratios) for genre, size in sizes.items()}
