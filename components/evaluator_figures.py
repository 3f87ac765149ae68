"""The figures in a ModelEvaluation artifact, as plain numbers.

Below the nodes, because the selector, the runner's summary and MLflow all read them.
"""

import dataclasses

import numpy as np
import tensorflow_model_analysis as tfma


@dataclasses.dataclass(frozen=True)
class GenreFigures:
    """One genre on the test split: tracks, and shares in [0, 1] (NaN where undefined)."""

    genre: str
    tracks: int
    precision: float
    recall: float


def figures(evaluation: str) -> dict[str, float]:
    """Overall scalar figures by TFMA's names: example_count, accuracy, macro_f1 …"""
    result = tfma.load_eval_result(evaluation)
    overall = result.get_metrics_for_slice(()) or {}
    return {
        name: float(value["doubleValue"])
        for name, value in overall.items()
        if "doubleValue" in value
    }


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


def by_genre(evaluation: str, genres: tuple[str, ...]) -> list[GenreFigures]:
    """Precision and recall of every genre, in label order."""
    result = tfma.load_eval_result(evaluation)
    counts = confusion_matrix(evaluation, len(genres)).sum(axis=1)
    rows = []
    for index, genre in enumerate(genres):
        metrics = result.get_metrics_for_slice((), class_id=index) or {}
        rows.append(
            GenreFigures(
                genre,
                int(counts[index]),
                float(metrics["precision"]["doubleValue"]),
                float(metrics["recall"]["doubleValue"]),
            )
        )
    return rows


def missed_thresholds(evaluation: str) -> tuple[str, ...]:
    """One sentence for each threshold that the model missed."""
    validation = tfma.load_validation_result(evaluation)
    return tuple(
        f"{failure.metric_key.name.replace('sparse_categorical_', '').replace('_', '-')} "
        f"{failure.metric_value.double_value.value:.3f} is under "
        f"{failure.metric_threshold.value_threshold.lower_bound.value:g}"
        for per_slice in validation.metric_validations_per_slice
        for failure in per_slice.failures
    )
