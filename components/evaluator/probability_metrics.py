"""TFMA metrics of probabilities that neither TFMA nor Keras has, or has approximately only.

TFMA's calibration figures are of one class, and its AUC interpolates between 200 thresholds, which
moves it by several hundredths where there are few tracks. These gather a slice's answers (ten
numbers a track) and compute the exact figure from all of them.
"""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from sklearn import metrics as sklearn_metrics
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.common import calibration, scoring
from components.evaluator.genre_metrics import genre_keys

# TFMA leaves what begins with an underscore out of its results.
_ANSWERS = "_answers"
_Answers = list[tuple[int, np.ndarray]]  # label, and probabilities float32 [genres]


class ExpectedCalibrationError(metric_types.Metric):
    """Mean distance of confidence and accuracy; see `components.common.calibration.ece`."""

    def __init__(self, name: str = "ece"):
        """Creates the metric.

        Args:
          name: Name in the evaluation's results.
        """
        super().__init__(_single(_ece), name=name)


class BrierScore(metric_types.Metric):
    """Mean squared distance of probabilities and label over all genres (Brier 1950), 0 to 2."""

    def __init__(self, name: str = "brier"):
        """Creates the metric; see `ExpectedCalibrationError`."""
        super().__init__(_single(scoring.brier), name=name)


class GenreAuc(metric_types.Metric):
    """Area under each genre's ROC curve against all others; NaN where a slice lacks one of both."""

    def __init__(self, classes: int, name: str = "auc"):
        """Creates the metric.

        Args:
          classes: Number of genres.
          name: Name in the evaluation's results.
        """
        super().__init__(_auc, classes=classes, name=name)


metric_types.register_metric(ExpectedCalibrationError)
metric_types.register_metric(BrierScore)
metric_types.register_metric(GenreAuc)


def genre_auc(probabilities: np.ndarray, labels: np.ndarray, genre: int) -> float:
    """Area under the ROC curve of one genre against the others.

    Args:
      probabilities: float [tracks, genres].
      labels: int [tracks].
      genre: Its label.

    Returns:
      0 to 1; NaN if no track, or every one, is of the genre, or if a probability is NaN.
    """
    positive = labels == genre
    if positive.all() or not positive.any() or not np.isfinite(probabilities).all():
        return float("nan")
    return float(sklearn_metrics.roc_auc_score(positive, probabilities[:, genre]))


def _ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return calibration.figures(probabilities, labels).ece


def _single(
    figure: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[..., metric_types.MetricComputations]:
    def computations(
        name: str, model_name: str = "", output_name: str = "", **kwargs: Any
    ) -> metric_types.MetricComputations:
        key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
        return _derived(
            [key],
            lambda probabilities, labels: {key: float(figure(probabilities, labels))},
            model_name=model_name,
            output_name=output_name,
            **kwargs,
        )

    return computations


def _auc(
    classes: int, name: str, model_name: str = "", output_name: str = "", **kwargs: Any
) -> metric_types.MetricComputations:
    keys = genre_keys(classes, name, model_name, output_name)
    return _derived(
        keys,
        lambda probabilities, labels: {
            key: genre_auc(probabilities, labels, index) for index, key in enumerate(keys)
        },
        model_name=model_name,
        output_name=output_name,
        **kwargs,
    )


def _derived(
    keys: list[metric_types.MetricKey],
    figures: Callable[[np.ndarray, np.ndarray], dict[metric_types.MetricKey, float]],
    *,
    model_name: str,
    output_name: str,
    eval_config: Any = None,
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    del example_weighted  # a track is a track
    source = metric_types.MetricKey(name=_ANSWERS, model_name=model_name, output_name=output_name)
    # TFMA computes equal computations once, so all metrics here share one pass.
    gathered = metric_types.MetricComputation(
        keys=[source], preprocessors=None, combiner=_Gather(source, eval_config)
    )

    def result(
        metrics: dict[metric_types.MetricKey, Any],
    ) -> dict[metric_types.MetricKey, float]:
        answers: _Answers = metrics[source]
        labels = np.array([label for label, _ in answers])
        return figures(np.stack([row for _, row in answers]), labels)

    return [gathered, metric_types.DerivedMetricComputation(keys=keys, result=result)]


class _Gather(beam.CombineFn):
    """Collects the label and the probabilities of every track of a slice."""

    def __init__(self, key: metric_types.MetricKey, eval_config: Any):
        self._key, self._eval_config = key, eval_config

    def create_accumulator(self) -> _Answers:
        return []

    def add_input(
        self, accumulator: _Answers, element: metric_types.StandardMetricInputs
    ) -> _Answers:
        label, probabilities, _ = next(
            metric_util.to_label_prediction_example_weight(
                element,
                eval_config=self._eval_config,
                model_name=self._key.model_name,
                output_name=self._key.output_name,
                flatten=False,
                require_single_example_weight=True,
            )
        )
        accumulator.append((int(np.ravel(label)[0]), np.asarray(probabilities, np.float32)))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Answers]) -> _Answers:
        return [answer for each in accumulators for answer in each]

    def extract_output(self, accumulator: _Answers) -> dict[metric_types.MetricKey, _Answers]:
        return {self._key: accumulator}
