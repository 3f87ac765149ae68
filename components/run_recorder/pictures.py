"""Figures for MLflow: learning curves, reliability diagrams and confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.common import metrics
from components.common.metrics import Bin

# Metric, label and panel (0 accuracy, 1 loss); metrics that do not exist are skipped.
_CURVES = (
    ("accuracy", "training windows", 0),
    ("val_window_accuracy", "validation windows", 0),
    ("val_track_accuracy", "validation tracks", 0),
    ("loss", "training windows", 1),
    ("val_track_loss", "validation tracks", 1),
)


def learning_curve(epochs: Mapping[str, Sequence[float]], *, best_epoch: int, title: str) -> Figure:
    """Accuracy and loss by epoch.

    Args:
      epochs: Metrics by name, a value an epoch, as Keras's history.
      best_epoch: Zero-based epoch whose weights were kept; marked.
      title: Above the picture.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, label, panel in _CURVES:
        if name in epochs:
            values = epochs[name]
            axes[panel].plot(np.arange(1, len(values) + 1), values, label=label)
    for axis, name in zip(axes, ("accuracy", "loss"), strict=True):
        axis.axvline(best_epoch + 1, color="grey", linestyle=":", label="best epoch")
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0, 1)
    axes[0].legend(fontsize=8)
    figure.suptitle(title)
    return figure


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
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(
                column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=color
            )
    axis.set_xticks(range(len(genres)), genres, rotation=45, ha="right")
    axis.set_yticks(range(len(genres)), genres)
    axis.set(xlabel="predicted", ylabel="actual", title=title)
    return figure
