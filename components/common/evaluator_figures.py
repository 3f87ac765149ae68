"""Reads the figures of a ModelEvaluation artifact as plain numbers.

In `common` because the gate and RunRecorder read them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

ACCURACY = "sparse_categorical_accuracy"  # as TFMA names it


@dataclasses.dataclass(frozen=True)
class SliceFigures:
    """Figures of the part of the test split that has one value of one property.

    Attributes:
      slice: The property: "genre", or one of `components.common.bands.SLICES`.
      value: Its value, as "quiet (under -25 dBFS)".
      tracks: Tracks that have it.
      figures: Scalar figures by name, as `figures` gives them for the whole split.
    """

    slice: str
    value: str
    tracks: int
    figures: Mapping[str, float]


def figures(evaluation: str) -> dict[str, float]:
    """Overall scalar figures: `example_count`, `ACCURACY`, `top_3_accuracy` and `log_loss`."""
    return _scalars(tfma.load_eval_result(evaluation).get_metrics_for_slice(()) or {})


def slices(evaluation: str) -> list[SliceFigures]:
    """Figures of every slice but the whole, sorted by property and value."""
    result = tfma.load_eval_result(evaluation)
    rows = []
    for key in sorted(key for key in result.get_slice_names() if key):
        ((name, value),) = key
        scalars = _scalars(result.get_metrics_for_slice(key) or {})
        rows.append(SliceFigures(name, str(value), round(scalars["example_count"]), scalars))
    return rows


def confusion_matrix(evaluation: str, classes: int) -> np.ndarray:
    """Counts int64 [classes, classes]: row = actual genre, column = predicted one."""
    overall = tfma.load_eval_result(evaluation).get_metrics_for_slice(()) or {}
    matrix = np.zeros((classes, classes), dtype=np.int64)
    stored = overall["multi_class_confusion_matrix_at_thresholds"]
    for entry in stored["multiClassConfusionMatrixAtThresholds"]["matrices"][0]["entries"]:
        matrix[entry.get("actualClassId", 0), entry.get("predictedClassId", 0)] += round(
            entry["numWeightedExamples"]
        )
    return matrix


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value["doubleValue"])
        for name, value in metrics.items()
        if "doubleValue" in value
    }
