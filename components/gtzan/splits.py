"""Which split a track belongs to: pure functions from names to `train`, `validation` and `test`.

Three methods (docs/splits.md):

* `stratified`: a seeded hash of each track's id; every genre in every split.
* `artist`: the same hash, of the artist; no artist on two sides.
* `listed`: the published text files say it.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from components.errors import UserError
from components.gtzan import layout

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
METHODS = ("stratified", "artist", "listed")

_LIST_NAME = re.compile(
    r"(?P<split>train|training|valid|validation|val|test|testing|eval)"
    r"(?:[_.-]+(?P<family>.+?))?\.txt",
    re.IGNORECASE,
)
_Group = tuple[str, str]  # what kind of name it is (artist or track), and the name
_LIST_SPLITS = {"tr": TRAIN, "va": VALIDATION, "te": TEST, "ev": TEST}


class SplitError(UserError):
    """The tracks cannot be split as asked; the message says why, fit for a user."""


@dataclasses.dataclass(frozen=True)
class Ratios:
    """The part of the tracks that each split is to have; train has the rest.

    Attributes:
      validation: Part for validation, above 0.
      test: Part for the test, above 0.
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
    """Hashes a name to a place in [0, 1) that depends on nothing but the name and the seed."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def stratified(
    genres: Mapping[str, str], *, seed: int, ratios: Ratios | None = None
) -> dict[str, str]:
    """Splits by a seeded hash of the track's id, with every genre in every split.

    A track's place in [0, 1) decides alone: the lowest part is the test split, the highest the
    validation split. So a track keeps its split when others are added. Only where this leaves a
    split of a genre under its minimum (`minimum_tracks`), as happens in small genres, are tracks
    moved there: those nearest to that split's end of the line. They go back once enough others
    fall there by themselves.

    Args:
      genres: Genre by track id.
      seed: Another seed is another split.
      ratios: Parts of the splits; 70/15/15 unless told.

    Returns:
      Split by track id, for every track. A genre of under three tracks cannot be in every split;
      `missing` finds it.
    """
    return by_artist(genres, {}, seed=seed, ratios=ratios)


def by_artist(
    genres: Mapping[str, str],
    artists: Mapping[str, str],
    *,
    seed: int,
    ratios: Ratios | None = None,
) -> dict[str, str]:
    """Splits by a seeded hash of the artist, so that none is on two sides.

    As `stratified`, with whole artists in the place of tracks. An artist is moved for a genre's
    sake only where that takes no split of any genre below its minimum.

    Args:
      genres: Genre by track id.
      artists: Artist by track id; a track without one counts as an artist of its own.
      seed: Another seed is another split.
      ratios: Parts of the splits, 70/15/15 unless told; by artists, so only roughly by tracks.

    Returns:
      Split by track id, for every track.
    """
    ratios = ratios or Ratios()
    # Two name spaces, so that an artist named like a track does not swallow it.
    groups: dict[_Group, list[str]] = collections.defaultdict(list)
    for track in sorted(genres):
        groups[("artist", artists[track]) if track in artists else ("track", track)].append(track)
    places = {group: position(group[1], seed=seed) for group in groups}
    splits = {group: _split_at(place, ratios) for group, place in places.items()}
    _fill_up(
        {group: [genres[track] for track in tracks] for group, tracks in groups.items()},
        places,
        splits,
        ratios,
    )
    return {track: splits[group] for group, tracks in groups.items() for track in tracks}


def listed(
    track_ids: Iterable[str], lists: Mapping[str, Iterable[str]]
) -> tuple[dict[str, str], list[str]]:
    """Splits as published lists say.

    Args:
      track_ids: The tracks that there are.
      lists: Track ids by split.

    Returns:
      Split by track id for the tracks that a list names, and the sorted ids of listed tracks that
      are not there. Tracks that no list names are left out.

    Raises:
      SplitError: A track is on two lists.
    """
    splits: dict[str, str] = {}
    for split, members in lists.items():
        for track in members:
            if splits.setdefault(track, split) != split:
                raise SplitError(
                    f"track {track} is on the lists of two splits. "
                    f"Received: {splits[track]} and {split}"
                )
    present = set(track_ids)
    return (
        {track: split for track, split in splits.items() if track in present},
        sorted(splits.keys() - present),
    )


def missing(splits: Mapping[str, str], genres: Mapping[str, str]) -> list[tuple[str, str]]:
    """Lists the (genre, split) pairs without a track, in order.

    Args:
      splits: Split by track id.
      genres: Genre by track id, for at least the tracks of `splits`.
    """
    return absent({(genres[track], split) for track, split in splits.items()}, genres.values())


def absent(seen: Iterable[tuple[str, str]], genres: Iterable[str]) -> list[tuple[str, str]]:
    """Lists the pairs of one of `genres` and a split that are not among those `seen`."""
    pairs = set(seen)
    return [(g, split) for g in sorted(set(genres)) for split in SPLITS if (g, split) not in pairs]


def choose_lists(names: Sequence[str], *, family: str = "", folder: str = "") -> dict[str, str]:
    """Picks the three list files out of a folder's: `train_filtered.txt` and so on.

    Args:
      names: Names of the files in the folder, without their path.
      family: What stands between the split's name and the suffix (`filtered`); may be left out
        where the folder has one family only.
      folder: What to call the folder in an error.

    Returns:
      File name by split.

    Raises:
      SplitError: There is no such family, more than one to choose from, or a list is missing.
    """
    families: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for name in sorted(names):
        match = _LIST_NAME.fullmatch(name)
        if match:
            split = _LIST_SPLITS[match["split"][:2].lower()]
            known = families[(match["family"] or "").lower()].setdefault(split, name)
            if known != name:
                raise SplitError(
                    f"two split lists for {split} in {folder or 'the folder'}. "
                    f"Received: {known} and {name}"
                )
    found = ", ".join(repr(one) for one in sorted(families)) or "no lists"
    if family:
        if family.lower() not in families:
            raise SplitError(
                f"no split lists train_{family}.txt, valid_{family}.txt, test_{family}.txt in "
                f"{folder or 'the folder'}. Received: {found}"
            )
        chosen = families[family.lower()]
    elif len(families) == 1:
        chosen = next(iter(families.values()))
    elif families:
        raise SplitError(
            f"{folder or 'the folder'} has several families of split lists: name one, as in "
            f"--split-family {sorted(families)[0] or 'NAME'}. Received: {found}"
        )
    else:
        raise SplitError(
            f"no split lists (train*.txt, valid*.txt, test*.txt) in {folder or 'the folder'}. "
            f"Received: {', '.join(sorted(names)[:5]) or 'no files'}"
        )
    lacking = [split for split in SPLITS if split not in chosen]
    if lacking:
        raise SplitError(
            f"no split list for {' and '.join(lacking)} in {folder or 'the folder'}. "
            f"Received: {', '.join(sorted(chosen.values()))}"
        )
    return {split: chosen[split] for split in SPLITS}


def parse_list(text: str) -> list[str]:
    """Reads a split list: one `genre/genre.NNNNN.wav` a line; blank lines and # are passed over."""
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    return [layout.listed_track_id(line) for line in lines if line and not line.startswith("#")]


def parse_artists(text: str, *, name: str) -> dict[str, str]:
    """Reads a CSV file with the columns `track_id` and `artist`.

    Args:
      text: The file.
      name: What to call it in an error.

    Returns:
      Artist by track id; rows without an artist are left out.

    Raises:
      SplitError: A column is missing, or one track has two artists.
    """
    rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), skipinitialspace=True)
    columns = [(column or "").strip() for column in rows.fieldnames or ()]
    rows.fieldnames = columns
    if not {"track_id", "artist"} <= set(columns):
        raise SplitError(
            f"{name} needs a first line with the columns track_id and artist. "
            f"Received: {', '.join(columns) or 'an empty file'}"
        )
    artists: dict[str, str] = {}
    for row in rows:
        track, artist = (row["track_id"] or "").strip(), (row["artist"] or "").strip()
        if track and artist and artists.setdefault(track, artist) != artist:
            raise SplitError(
                f"{name} gives track {track} two artists. Received: {artists[track]} and {artist}"
            )
    return artists


def minimum_tracks(tracks: int, ratios: Ratios) -> dict[str, int]:
    """Says how few of a genre's tracks each split may have.

    Far enough below the expected share (at 100 tracks: 6 of 15, 56 of 70, both about 2.5 to 3
    standard deviations) that hashing alone nearly always keeps it, and every track its place.

    Args:
      tracks: Tracks of the genre.
      ratios: Parts of the splits.

    Returns:
      Number by split: at least one.
    """
    train = 1.0 - ratios.validation - ratios.test
    return {
        TEST: max(1, int(0.4 * ratios.test * tracks)),
        VALIDATION: max(1, int(0.4 * ratios.validation * tracks)),
        TRAIN: max(1, min(round(0.8 * train * tracks), tracks - 2)),
    }


def _split_at(place: float, ratios: Ratios) -> str:
    """Names the split of a place in [0, 1): test from below, validation from above."""
    if place < ratios.test:
        return TEST
    return VALIDATION if place >= 1.0 - ratios.validation else TRAIN


def _fill_up(
    group_genres: Mapping[_Group, Sequence[str]],
    places: Mapping[_Group, float],
    splits: dict[_Group, str],
    ratios: Ratios,
) -> None:
    """Moves groups, in place, until every genre has its minimum in every split or no move is left.

    First a track in every split, then the minimum: else the second could use up what the first
    needs. A move never takes a split of a genre below what is being filled up to, so each mends
    something and breaks nothing, and the loop ends.
    """
    held = {group: collections.Counter(members) for group, members in group_genres.items()}
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for group, members in held.items():
        sizes.update(members)
        counts.update({(genre, splits[group]): number for genre, number in members.items()})
    # Where each split's part of the line is at its purest.
    ends = {TEST: 0.0, VALIDATION: 1.0, TRAIN: (ratios.test + 1.0 - ratios.validation) / 2}
    minimums = {genre: minimum_tracks(size, ratios) for genre, size in sizes.items()}
    for floors in ({genre: dict.fromkeys(SPLITS, 1) for genre in minimums}, minimums):
        for genre, split in itertools.product(sorted(sizes), SPLITS):
            while counts[genre, split] < floors[genre][split]:
                movable = [
                    (abs(places[group] - ends[split]), group)
                    for group, members in held.items()
                    if genre in members
                    and splits[group] != split
                    and all(
                        counts[one, splits[group]] - number >= floors[one][splits[group]]
                        for one, number in members.items()
                    )
                ]
                if not movable:
                    break
                moved = min(movable)[1]
                for one, number in held[moved].items():
                    counts[one, splits[moved]] -= number
                    counts[one, split] += number
                splits[moved] = split
