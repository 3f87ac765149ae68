"""Draws how much accuracy rises if windows are divided instead of tracks (leakage).

    python -m benchmarks.leak_gap docs/results.csv docs/images/leak-gap.png [--data "audio, 70"]

Draws, for every model that a results file of `benchmarks.accuracy` has under `segment`, its
accuracy beside that under `folds` and `artist`, where they are there.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.results import Row, read, seed_means
from components.common.errors import UserError
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG

# Protocol, column of the results file, label.
BARS = (
    ("segment", "window_accuracy", "windows divided at random (leaks)"),
    ("folds", "window_accuracy", "the same windows, tracks divided"),
    ("folds", "track_accuracy", "whole tracks, tracks divided"),
    ("artist", "track_accuracy", "whole tracks, artists divided"),
)

Key = tuple[str, str, str]


def means(rows: Iterable[Row]) -> dict[Key, float]:
    """Mean over tracks and seeds, by model, protocol and column."""
    measured: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        measured[row["model"], row["protocol"]].append(row)
    return {
        (*key, column): float(np.mean(list(seed_means(rows_of_key, column).values())))
        for key, rows_of_key in measured.items()
        for column in ("window_accuracy", "track_accuracy")
    }


def draw(figures: Mapping[Key, float], *, title: str) -> Figure:
    """Draws bars for each model.

    Args:
      figures: Result of `means`.
      title: Above the picture.

    Raises:
      ValueError: No model was measured under `segment`.
    """
    measured = [model for model, protocol, column in figures if (protocol, column) == BARS[0][:2]]
    models = [model for model in CATALOG if model in measured]  # as in the table of figures
    models += [model for model in measured if model not in CATALOG]
    if not models:
        raise ValueError("no model was measured under --protocol segment: there is no gap to draw")
    figure = Figure(figsize=(2.0 + 1.3 * len(models), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(BARS)
    colours = ("tab:red", "tab:orange", "tab:blue", "tab:green")
    for place, ((protocol, column, label), colour) in enumerate(zip(BARS, colours, strict=True)):
        heights = [figures.get((model, protocol, column), np.nan) for model in models]
        positions = np.arange(len(models)) + (place - (len(BARS) - 1) / 2) * width
        bars = axes.bar(positions, heights, width, label=label, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(models)), models)
    axes.set(ylabel="accuracy", ylim=(0, 1.1))
    axes.axhline(1 / len(GENRES), color="grey", linestyle=":", label="chance")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    axes.set_title(title, fontsize=10)
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leak_gap", description="Draw segment beside track accuracy."
    )
    parser.add_argument("results", type=Path, help="file that benchmarks.accuracy appended to")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--data", default="audio", help="how the data column begins")
    options = parser.parse_args(arguments)
    try:
        rows = [row for row in read(options.results) if row["data"].startswith(options.data)]
        names = sorted({row["data"] for row in rows})
        figure = draw(means(rows), title="; ".join(names))
        figure.savefig(options.picture, dpi=120)
    except (UserError, ValueError, OSError) as error:
        parser.error(str(error))
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
