"""How tracks are divided into those that are learnt from and those that are scored."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FOLDS = 5
PROTOCOLS = ("track", "folds", "artist", "listed", "segment")


@dataclasses.dataclass(frozen=True)
class Round:
    """One division, as places in a collection: int64 arrays without common element."""

    training: np.ndarray
    scored: np.ndarray


def folds(labels: np.ndarray, *, seed: int) -> list[Round]:
    """Five divisions, each track scored once, genres spread evenly."""
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [Round(*pair) for pair in splitter.split(labels, labels)]


def by_artist(labels: np.ndarray, artists: Sequence[str], *, seed: int) -> list[Round]:
    """Five divisions with no artist on both sides."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return [Round(*pair) for pair in splitter.split(labels, labels, groups=np.asarray(artists))]


def listed(track_ids: Sequence[str], learnt: Sequence[Path], scored: Path) -> Round:
    """The division that text files name, one track a line.

    Raises:
      ValueError: A list names no track of the collection.
    """
    places = {track_id: place for place, track_id in enumerate(track_ids)}

    def found(path: Path) -> list[int]:
        names = [Path(line.strip()).stem for line in path.read_text().splitlines() if line.strip()]
        here = [places[name] for name in names if name in places]
        if not here:
            raise ValueError(f"the list names no track of the collection. Received: {path}")
        return here

    training = [place for path in learnt for place in found(path)]
    return Round(np.array(training), np.array(found(scored)))


def read_artists(path: Path, track_ids: Sequence[str]) -> list[str]:
    """The artist of each track; one without is an artist of its own."""
    with path.open() as file:
        known = {row["track_id"]: row["artist"] for row in csv.DictReader(file)}
    return [known.get(track_id, track_id) for track_id in track_ids]
