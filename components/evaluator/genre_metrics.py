"""TFMA metrics of the most probable genre, derived from one confusion matrix.

TFMA's own precision, recall and F1 count a prediction only if its probability is over one half,
which is rare among ten genres. These metrics take the most probable genre, as accuracy does.
Metrics of the probabilities themselves are in `probability_metrics`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, multi_class_confusion_matrix_metrics

# Below every probability, so that the most probable genre always counts.
_ANY_PROBABILITY = -1.0


class MacroF1(metric_types.Metric):
    """Mean over genres of F1, as scikit-learn's `f1_score(average="macro")`.

    Genres that neither occur nor are predicted are left out; one that is never right has F1 0.
    """

    def __init__(self, classes: int, name: str = "macro_f1"):
        """Creates the metric.

        Args:
          classes: Number of genres.
          name: Name in the evaluation's results.
        """
        super().__init__(_macro_f1, classes=classes, name=name)


class GenrePrecision(metric_types.Metric):
    """Share of each genre's predictions that are right; NaN without predictions."""

    def __init__(self, classes: int, name: str = "precision"):
        """Creates the metric; see `MacroF1`."""
        super().__init__(_precision, classes=classes, name=name)


class GenreRecall(metric_types.Metric):
    """Share of each genre's tracks that are predicted as it; NaN without tracks."""

    def __init__(self, classes: int, name: str = "recall"):
        """Creates the metric; see `MacroF1`."""
        super().__init__(_recall, classes=classes, name=name)


metric_types.register_metric(MacroF1)
metric_types.register_metric(GenrePrecision)
metric_types.register_metric(GenreRecall)


def precision_recall_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class.

    Args:
      confusion: Counts [classes, classes], row = actual, column = predicted.

    Returns:
      Three float64 vectors [classes]; NaN where a quotient is 0 / 0.
    """
    hits = np.diag(confusion).astype(np.float64)
    predicted = confusion.sum(axis=0)
    actual = confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / predicted, hits / actual, 2 * hits / (predicted + actual)


def _macro_f1(
    classes: int, name: str, model_name: str = "", output_name: str = "", **kwargs: Any
) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return _derived(
        [key],
        lambda confusion: {key: float(np.nanmean(precision_recall_f1(confusion)[2]))},
        classes=classes,
        model_name=model_name,
        output_name=output_name,
        **kwargs,
    )


def _precision(**kwargs: Any) -> metric_types.MetricComputations:
    return _by_genre(0, **kwargs)


def _recall(**kwargs: Any) -> metric_types.MetricComputations:
    return _by_genre(1, **kwargs)


def genre_keys(
    classes: int, name: str, model_name: str, output_name: str
) -> list[metric_types.MetricKey]:
    """TFMA's key of a metric for each genre, in the order of their numbers."""
    return [
        metric_types.MetricKey(
            name=name,
            model_name=model_name,
            output_name=output_name,
            sub_key=metric_types.SubKey(class_id=index),
        )
        for index in range(classes)
    ]


def _by_genre(
    which: int,
    *,
    classes: int,
    name: str,
    model_name: str = "",
    output_name: str = "",
    **kwargs: Any,
) -> metric_types.MetricComputations:
    keys = genre_keys(classes, name, model_name, output_name)
    return _derived(
        keys,
        lambda confusion: dict(
            zip(keys, map(float, precision_recall_f1(confusion)[which]), strict=True)
        ),
        classes=classes,
        model_name=model_name,
        output_name=output_name,
        **kwargs,
    )


def _derived(
    keys: list[metric_types.MetricKey],
    figures: Any,
    *,
    classes: int,
    model_name: str,
    output_name: str,
    eval_config: Any = None,
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    computations = multi_class_confusion_matrix_metrics.multi_class_confusion_matrices(
        thresholds=[_ANY_PROBABILITY],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    source = computations[-1].keys[-1]

    def result(metrics: Mapping[metric_types.MetricKey, Any]) -> dict[Any, float]:
        confusion = np.zeros((classes, classes))
        for entry, count in metrics[source][_ANY_PROBABILITY].items():
            confusion[entry.actual_class_id, entry.predicted_class_id] += count
        return figures(confusion)

    return [*computations, metric_types.DerivedMetricComputation(keys=keys, result=result)]
