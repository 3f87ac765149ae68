"""A picture of what dividing windows instead of tracks does to a figure.

    python -m benchmarks.leak_gap docs/results.csv docs/images/leak-gap.png [--data "audio, 70"]

Draws, for every model that a results file of `benchmarks.accuracy` has under `segment`, its
accuracy beside that under `folds` and `artist`, where they are there.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.gtzan.genres import GENRES

# Protocol, column of the results file, label.
BARS = (
    ("segment", "window_accuracy", "windows divided at random (leaks)"),
    ("folds", "window_accuracy", "the same windows, tracks divided"),
    ("folds", "track_accuracy", "whole tracks, tracks divided"),
    ("artist", "track_accuracy", "whole tracks, artists divided"),
)

Key = tuple[str, str, str]


def means(rows: Iterable[Mapping[str, str]]) -> dict[Key, float]:
    """Mean over rounds and seeds, by model, protocol and column."""
    found: dict[Key, list[float]] = defaultdict(list)
    for row in rows:
        for column in ("window_accuracy", "track_accuracy"):
            found[row["model"], row["protocol"], column].append(float(row[column]))
    return {key: float(np.mean(values)) for key, values in found.items()}


def draw(found: Mapping[Key, float], *, title: str) -> Figure:
    """Bars by model.

    Args:
      found: What `means` gives.
      title: Above the picture.

    Raises:
      ValueError: No model was measured under `segment`.
    """
    models = [model for model, protocol, column in found if (protocol, column) == BARS[0][:2]]
    if not models:
        raise ValueError("no model was measured under --protocol segment: there is no gap to draw")
    figure = Figure(figsize=(1.5 + 2.1 * len(models), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(BARS)
    colours = ("tab:red", "tab:orange", "tab:blue", "tab:green")
    for place, ((protocol, column, label), colour) in enumerate(zip(BARS, colours, strict=True)):
        heights = [found.get((model, protocol, column), np.nan) for model in models]
        positions = np.arange(len(models)) + (place - (len(BARS) - 1) / 2) * width
        bars = axes.bar(positions, heights, width, label=label, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
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
    if not options.results.is_file():
        parser.error(f"there is no file {options.results}")
    with options.results.open() as file:
        rows = [row for row in csv.DictReader(file) if row["data"].startswith(options.data)]
    names = sorted({row["data"] for row in rows})
    try:
        figure = draw(means(rows), title="; ".join(names))
    except ValueError as error:
        parser.error(str(error))
    figure.savefig(options.picture, dpi=120)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
