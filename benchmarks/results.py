"""The file that `benchmarks.accuracy` appends to: one row a model, seed and round."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from components.common.errors import UserError

FIELDS = (
    "data",
    "protocol",
    "split",  # what is scored, and what is learnt from
    "model",
    "settings",  # those that are not the model's own
    "seed",
    "round",
    "learnt_tracks",
    "scored_tracks",
    "track_accuracy",
    "track_macro_f1",
    "window_accuracy",
    "seconds",
    "deformation",  # of the scored sound; empty for none
    "track_loss",  # mean cross-entropy, in nats, without calibration
    "track_confidence",  # mean of the largest probability
)

Row = Mapping[str, str]


def prepare(path: Path) -> None:
    """Checks that rows can be appended, before any training.

    Raises:
      UserError: The file cannot be written, or has other columns.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise UserError(f"--results cannot be written ({error.strerror}). Received: {path}") from (
            error
        )
    if path.stat().st_size:
        read(path)
    else:
        with path.open("w", newline="") as file:
            csv.DictWriter(file, FIELDS).writeheader()


def append(path: Path, row: Mapping[str, object]) -> None:
    """Appends a row to a file that `prepare` made."""
    with path.open("a", newline="") as file:
        csv.DictWriter(file, FIELDS).writerow(row)


def read(path: Path) -> list[dict[str, str]]:
    """Reads the rows.

    Raises:
      UserError: There is no such file, or it has other columns.
    """
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != FIELDS:
                raise UserError(
                    f"no results file of benchmarks.accuracy, whose columns are "
                    f"{', '.join(FIELDS)}. Received: {path}"
                )
            return list(rows)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the results file cannot be read. Received: {path}") from error


def seed_means(rows: Iterable[Mapping[str, object]], column: str) -> dict[str, float]:
    """The mean of a column over the rounds of each seed, each track counting once.

    Rounds of the artist protocol differ in size, and the small ones are the easy ones. A round
    that was measured again counts as it was last.

    Args:
      rows: Of one model under one protocol.
      column: `track_accuracy`, `window_accuracy` or `track_macro_f1`.

    Returns:
      By seed.
    """
    rounds: dict[str, dict[str, tuple[float, int]]] = defaultdict(dict)
    for row in rows:
        figure = float(str(row[column])), int(str(row["scored_tracks"]))
        rounds[str(row["seed"])][str(row["round"])] = figure
    means = {}
    for seed, by_round in rounds.items():
        figures, tracks = zip(*by_round.values(), strict=True)
        means[seed] = float(np.average(figures, weights=tracks))
    return means


def scored_once(rows: Iterable[Mapping[str, object]]) -> int:
    """The number of tracks that are scored under one seed, over all its rounds.

    Args:
      rows: Of one model under one protocol; every seed scores the same tracks.
    """
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        sizes[str(row["seed"])][str(row["round"])] = int(str(row["scored_tracks"]))
    return max(sum(of_seed.values()) for of_seed in sizes.values())
