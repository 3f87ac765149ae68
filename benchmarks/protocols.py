"""How tracks are divided into those that are learnt from and those that are scored."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.sources import read_text
from components.common.errors import UserError
from components.gtzan import split_files
from components.gtzan.genres import GENRES

FOLDS = 5
PROTOCOLS = ("track", "folds", "artist", "listed", "segment")


@dataclasses.dataclass(frozen=True)
class Round:
    """One division, as places in a collection: int64 arrays without common element."""

    training: np.ndarray
    scored: np.ndarray


def folds(labels: np.ndarray, *, seed: int) -> list[Round]:
    """Five divisions, each track scored once, genres spread evenly.

    Raises:
      UserError: A genre has fewer tracks than there are divisions.
    """
    from sklearn.model_selection import StratifiedKFold

    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < FOLDS:
            raise UserError(
                f"to be divided, a genre needs {FOLDS} tracks. Received: {count} of {GENRES[label]}"
            )
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [Round(*pair) for pair in splitter.split(labels, labels)]


def by_artist(labels: np.ndarray, artists: Sequence[str], *, seed: int) -> list[Round]:
    """Five divisions with no artist in both parts.

    Raises:
      UserError: There are fewer artists than divisions.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if len(set(artists)) < FOLDS:
        raise UserError(
            f"--protocol artist needs {FOLDS} artists. Received: {len(set(artists))} of "
            f"{len(labels)} tracks"
        )
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    try:
        divided = list(splitter.split(labels, labels, groups=np.asarray(artists)))
    except ValueError as error:
        raise UserError(f"--protocol artist cannot divide the tracks: {error}") from error
    return [Round(*pair) for pair in divided]


def listed(track_ids: Sequence[str], learnt: Sequence[Path], scored: Path) -> Round:
    """The division that text files name, one track a line.

    Raises:
      UserError: A list names no track of the collection, or one track is on both sides.
    """
    places = {track_id: place for place, track_id in enumerate(track_ids)}

    def positions(path: Path) -> list[int]:
        names = split_files.parse_list(read_text(path))
        here = [places[name] for name in names if name in places]
        if not here:
            raise UserError(f"the list names no track of the collection. Received: {path}")
        return here

    training, held_out = [place for path in learnt for place in positions(path)], positions(scored)
    both = set(training) & set(held_out)
    if both:
        raise UserError(
            f"tracks are both learnt from and scored. Received: {len(both)}, "
            f"{track_ids[min(both)]} among them, in {scored}"
        )
    return Round(np.array(training), np.array(held_out))


def read_artists(path: Path, track_ids: Sequence[str]) -> list[str]:
    """The artist of each track; tracks without one get an artist of their own and are printed.

    Raises:
      UserError: The file names the artist of none of the tracks.
    """
    known = split_files.parse_artists(read_text(path), name=str(path))
    without = [track_id for track_id in track_ids if track_id not in known]
    if len(without) == len(track_ids):
        raise UserError(
            f"--artists names the artist of none of the tracks (such as {track_ids[0]}). "
            f"Received: {path}"
        )
    if without:
        print(f"without an artist, so each one of its own: {len(without)} tracks")
    return [known.get(track_id, track_id) for track_id in track_ids]
