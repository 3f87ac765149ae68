"""Models by protocols, as a Markdown table, from a results file of `benchmarks.accuracy`.

    python -m benchmarks.results_table docs/results.csv

A cell is the mean over rounds and seeds, with the standard deviation over seeds where there are
several. It is at track level, but under `segment`, where windows are what was divided.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from components.trainer.catalog import CATALOG

# What the student projects that Gatefold replaces say of themselves.
REPORTED = {
    "ann": 0.72,
    "cnn": 0.63,
    "lstm": 0.82,
    "vgg19": 0.58,
    "efficientnetb0": 0.62,
    "inceptionv3": 0.55,
    "mobilenetv2": 0.51,
}
MISSING = "–"


def table(rows: Iterable[Mapping[str, str]]) -> str:
    """The table; models are in the catalog's order, others (peers) below them.

    Args:
      rows: As `benchmarks.accuracy` writes them.
    """
    # Figures by seed, by model and column of the table.
    cells: dict[tuple[str, tuple[str, str]], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    columns: dict[tuple[str, str], None] = {}  # in the file's order
    for row in rows:
        column = (row["data"], row["protocol"])
        columns[column] = None
        level = "window_accuracy" if row["protocol"] == "segment" else "track_accuracy"
        cells[row["model"], column][row["seed"]].append(float(row[level]))
    measured = {model for model, _ in cells}
    models = [*CATALOG, *sorted(measured - set(CATALOG))]
    heads = [f"{data}: {_protocol(protocol)}" for data, protocol in columns]
    lines = [
        f"| model | {' | '.join(heads)} | other projects report |",
        f"|---|{'---|' * len(heads)}---|",
    ]
    for model in models:
        figures = [_cell(cells.get((model, column), {})) for column in columns]
        reported = f"{REPORTED[model]:.2f}" if model in REPORTED else MISSING
        lines.append(f"| `{model}` | {' | '.join(figures)} | {reported} |")
    return "\n".join(lines)


def _protocol(name: str) -> str:
    return "segment, window level (leaks)" if name == "segment" else f"{name}, track level"


def _cell(seeds: Mapping[str, list[float]]) -> str:
    if not seeds:
        return MISSING
    means = [float(np.mean(found)) for found in seeds.values()]
    spread = f" ± {np.std(means):.3f}" if len(means) > 1 else ""
    return f"{np.mean(means):.3f}{spread}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results_table", description="Models by protocols, in Markdown."
    )
    parser.add_argument("results", type=Path, help="file that benchmarks.accuracy appended to")
    options = parser.parse_args(arguments)
    if not options.results.is_file():
        parser.error(f"there is no file {options.results}")
    with options.results.open() as file:
        print(table(csv.DictReader(file)))


if __name__ == "__main__":
    main()
