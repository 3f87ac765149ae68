"""Pictures for MLflow, which draws learning curves itself: reliability and confusions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from components.common import metrics
from components.common.metrics import Bin


def reliability(diagrams: Mapping[str, Sequence[Bin]], *, title: str) -> Figure:
    """Accuracy by confidence, one panel a diagram; a calibrated model follows the diagonal.

    Args:
      diagrams: Results of `components.common.metrics.reliability`, by title of the panel.
      title: Above the picture.
    """
    figure = Figure(figsize=(4.2 * len(diagrams), 4), layout="constrained")
    panels = figure.subplots(1, len(diagrams), squeeze=False)[0]
    for axis, (name, bins) in zip(panels, diagrams.items(), strict=True):
        filled = [each for each in bins if each.tracks]
        axis.plot([0, 1], [0, 1], color="grey", linestyle=":")
        axis.bar(
            [each.low for each in filled],
            [each.accuracy for each in filled],
            width=[each.high - each.low for each in filled],
            align="edge",
            edgecolor="white",
        )
        for each in filled:
            label = f"{each.tracks}"
            axis.text(
                (each.low + each.high) / 2, each.accuracy + 0.01, label, ha="center", fontsize=7
            )
        axis.set(xlim=(0, 1), ylim=(0, 1.06), xlabel="confidence", ylabel="accuracy")
        axis.set_title(f"{name}: ECE {metrics.calibration_error(list(bins)):.3f}")
    figure.suptitle(title)
    return figure


def confusion_matrix(counts: np.ndarray, genres: Sequence[str], *, title: str) -> Figure:
    """Tracks by actual and predicted genre, shaded by the share of the actual genre.

    Args:
      counts: Counts [genres, genres], row = actual, column = predicted.
      genres: Names in label order.
      title: Above the picture.
    """
    figure = Figure(figsize=(6.5, 5.8), layout="constrained")
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = ConfusionMatrixDisplay(shares, display_labels=genres).plot(
        ax=axis,
        cmap="Blues",
        colorbar=False,
        im_kw={"vmin": 0, "vmax": 1},
        xticks_rotation="vertical",
    )
    for count, text in zip(counts.ravel(), drawn.text_.ravel(), strict=True):
        text.set_text(f"{count:d}" if count else "")
    axis.set(xlabel="predicted", ylabel="actual", title=title)
    return figure
