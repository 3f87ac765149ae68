"""Prints a Markdown table, models by protocols, from a results file of `benchmarks.accuracy`.

    python -m benchmarks.results_table docs/results.csv
    python -m benchmarks.results_table docs/deformed.csv --deformed [--picture FILE.png]

A cell is the mean over tracks and seeds, with its 95 % interval over tracks (Wilson's) in brackets,
and the standard deviation over seeds where there are several. It is at track level, except under
`segment`, where it is at window level and has no interval: windows of a track are no independent
draws.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import Row, read, scored_once, seed_means
from components.common.errors import UserError
from components.common.metrics import share_interval
from components.trainer.catalog import CATALOG

# Accuracies that the student projects which Gatefold replaces report.
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


def table(rows: Iterable[Row]) -> str:
    """Makes the table; models are in the catalog's order, peers below them.

    Args:
      rows: As `benchmarks.accuracy` writes them.

    Raises:
      UserError: Rows that differ in split or settings would share a cell.
    """
    cells: dict[tuple[str, tuple[str, str]], list[Row]] = defaultdict(list)
    columns: dict[tuple[str, str], None] = {}  # in the file's order
    for row in rows:
        if row["deformation"]:
            continue
        column = (row["data"], row["protocol"])
        columns[column] = None
        cells[row["model"], column].append(row)
    measured = {model for model, _ in cells}
    models = [*CATALOG, *sorted(measured - set(CATALOG))]
    heads = [f"{data}: {_protocol(protocol)}" for data, protocol in columns]
    lines = [
        f"| model | {' | '.join(heads)} | other projects report |",
        f"|---|{'---|' * len(heads)}---|",
    ]
    for model in models:
        figures = [_cell(cells.get((model, column), [])) for column in columns]
        reported = f"{REPORTED[model]:.2f}" if model in REPORTED else MISSING
        lines.append(f"| `{model}` | {' | '.join(figures)} | {reported} |")
    return "\n".join(lines)


def deformed(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Track accuracy, loss and confidence of each model under each deformation.

    Args:
      rows: As `benchmarks.accuracy --deformed` writes them, of one protocol.

    Returns:
      By model with its settings ("cnn copies=2"), then by deformation ("" for none): the three
      figures, each the mean over seeds.
    """
    cells: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[f"{row['model']} {row['settings']}".strip()][row["deformation"]].append(row)
    return {
        model: {
            version: {
                name: float(np.mean([*seed_means(measured, name).values()]))
                for name in ("track_accuracy", "track_loss", "track_confidence")
            }
            for version, measured in versions.items()
        }
        for model, versions in cells.items()
    }


def deformed_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The figures of `deformed` as a Markdown table: accuracy / loss / confidence in a cell."""
    lines = [
        f"| sound | {' | '.join(f'`{model}`' for model in figures)} |",
        f"|---|{'---|' * len(figures)}",
    ]
    for version in next(iter(figures.values())):
        cells = [
            " / ".join(f"{figure:.2f}" for figure in versions[version].values())
            for versions in figures.values()
        ]
        lines.append(f"| {version or 'as it is'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_deformed(figures: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """Draws accuracy as a heat map, models by deformations, into a PNG file."""
    from matplotlib.figure import Figure

    versions = [*next(iter(figures.values()))]
    values = np.array(
        [[row[version]["track_accuracy"] for version in versions] for row in figures.values()]
    )
    picture = Figure(figsize=(2 + 0.9 * len(versions), 1.5 + 0.4 * len(figures)))
    axes = picture.subplots()
    axes.imshow(values, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(versions)), [version or "as it is" for version in versions])
    axes.tick_params(axis="x", rotation=40)
    axes.set_yticks(range(len(figures)), [*figures])
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.6 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    axes.set_title("Track accuracy")
    picture.savefig(path, dpi=120, bbox_inches="tight")


def _protocol(name: str) -> str:
    return "segment, window level (leaks)" if name == "segment" else f"{name}, track level"


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return MISSING
    kinds = sorted({(row["split"], row["settings"]) for row in rows})
    if len(kinds) > 1:
        raise UserError(
            f"figures of {rows[0]['model']} under {rows[0]['protocol']} that were not measured in "
            f"the same way would be averaged: keep them in files of their own. Received: {kinds}"
        )
    segment = rows[0]["protocol"] == "segment"
    means = list(seed_means(rows, "window_accuracy" if segment else "track_accuracy").values())
    spread = f" ± {np.std(means):.3f}" if len(means) > 1 else ""
    mean = float(np.mean(means))
    if segment:
        return f"{mean:.3f}{spread}"
    tracks = scored_once(rows)
    low, high = share_interval(round(mean * tracks), tracks)
    return f"{mean:.3f} ({low:.2f}–{high:.2f}){spread}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results_table", description="Models by protocols, in Markdown."
    )
    parser.add_argument("results", type=Path, help="file that benchmarks.accuracy appended to")
    parser.add_argument("--deformed", action="store_true", help="models by deformations instead")
    parser.add_argument("--picture", type=Path, help="PNG file for a heat map of --deformed")
    options = parser.parse_args(arguments)
    try:
        rows = read(options.results)
        if not options.deformed:
            print(table(rows))
            return
        figures = deformed(rows)
        print(deformed_table(figures))
        if options.picture:
            draw_deformed(figures, options.picture)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
