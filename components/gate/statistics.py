"""Figures of a model's answers for labelled tracks, each with its 95 % interval over tracks.

Shares (accuracy, top-3 accuracy, recall) have Wilson's interval, because a bootstrap of 14 right
tracks of 14 would say that the accuracy is surely 1. All other figures have a percentile bootstrap
over tracks (Efron, Annals of Statistics 7 (1), 1979).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from sklearn import metrics

from components.common import calibration
from components.common.calibration import BINS
from components.common.intervals import CONFIDENCE, macro_f1_interval, share_interval

DRAWS = 2000
# A genre that was given no probability at all costs this much and not infinitely much.
_LEAST_PROBABILITY = 1e-7


@dataclasses.dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval; NaN and None where it does not exist."""

    value: float
    interval: tuple[float, float] | None = None

    @property
    def exists(self) -> bool:
        """Whether the value is a finite number."""
        return math.isfinite(self.value)


MISSING = Figure(math.nan)


@dataclasses.dataclass(frozen=True)
class GenreFigures:
    """One genre's figures; None where a quotient is 0 / 0 or a curve has one class only."""

    genre: str
    tracks: int
    precision: float | None
    recall: float | None
    recall_interval: tuple[float, float] | None
    f1: float | None
    auc: float | None


def overall(probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Figure]:
    """Figures over all tracks.

    Args:
      probabilities: float [tracks, genres].
      labels: int [tracks].
      seed: Of the bootstrap.

    Returns:
      `accuracy`, `top_3_accuracy`, `macro_f1`, `log_loss` (nats), `ece` (`calibration.ece`) and
      `brier` (mean over tracks of the squared distance to the right answer, 0 to 2; Brier, Monthly
      Weather Review 78 (1), 1950). All are missing if there is no track, or a probability is NaN.
    """
    names = ("accuracy", "top_3_accuracy", "macro_f1", "log_loss", "ece", "brier")
    tracks, genres = probabilities.shape
    if not tracks or not np.isfinite(probabilities).all():
        return dict.fromkeys(names, MISSING)
    confusion = confusion_matrix(probabilities, labels)
    drawn = bootstrap_counts(tracks, seed)
    is_right = probabilities.argmax(axis=1) == labels
    predicted = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    f1 = precision_recall_f1(confusion)[2][predicted]
    losses = log_losses(probabilities, labels)
    distances = ((probabilities - np.eye(genres)[labels]) ** 2).sum(axis=1)
    return {
        "accuracy": _share(is_right),
        "top_3_accuracy": _share(_in_top(probabilities, labels, 3)),
        "macro_f1": Figure(float(f1.mean()), macro_f1_interval(confusion, seed=seed)),
        "log_loss": Figure(float(losses.mean()), interval(drawn @ losses / tracks)),
        "ece": Figure(
            calibration.figures(probabilities, labels).ece,
            interval(_calibration_errors(probabilities, labels, drawn)),
        ),
        "brier": Figure(float(distances.mean()), interval(drawn @ distances / tracks)),
    }


def by_genre(
    probabilities: np.ndarray, labels: np.ndarray, genres: Sequence[str]
) -> list[GenreFigures]:
    """Figures of every genre, in label order; arguments as in `overall`."""
    confusion = confusion_matrix(probabilities, labels)
    precision, recall, f1 = precision_recall_f1(confusion)
    rows = []
    for index, genre in enumerate(genres):
        actual = labels == index
        tracks = int(actual.sum())
        auc = None
        if 0 < tracks < len(labels):
            auc = float(metrics.roc_auc_score(actual, probabilities[:, index]))
        rows.append(
            GenreFigures(
                genre,
                tracks,
                _or_none(precision[index]),
                _or_none(recall[index]),
                share_interval(int(confusion[index, index]), tracks) if tracks else None,
                _or_none(f1[index]),
                auc,
            )
        )
    return rows


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts int64 [genres, genres]; row = actual genre, column = the most probable one."""
    return metrics.confusion_matrix(
        labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])
    )


def precision_recall_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each genre, float64 [genres]; NaN where a quotient is 0 / 0."""
    hits = np.diag(confusion).astype(np.float64)
    predicted, actual = confusion.sum(axis=0), confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / predicted, hits / actual, 2 * hits / (predicted + actual)


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each track in nats, float64 [tracks]."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(of_label, _LEAST_PROBABILITY))


def calibration_error_by_chance(
    probabilities: np.ndarray, *, quantile: float = CONFIDENCE, seed: int = 0
) -> float:
    """The calibration error that a perfectly calibrated model shows on so few tracks.

    A model whose confidences are exactly right is still right on a whole number of tracks, so its
    measured error is over zero: by about 0.3 with twelve tracks. Tracks are drawn as right with the
    probability that the model gives (consistency resampling: Bröcker and Smith, Weather and
    Forecasting 22 (3), 2007).

    Args:
      probabilities: float [tracks, genres]; only each track's highest is looked at.
      quantile: Share of the draws that stay under the result.
      seed: Of the draws.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    right = np.random.default_rng(seed).random((DRAWS, len(confidences))) < confidences
    member = _bin_members(confidences)
    errors = np.abs((right - confidences) @ member).sum(axis=1) / len(confidences)
    return float(np.quantile(errors, quantile))


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap draws."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_counts(tracks: int, seed: int) -> np.ndarray:
    """How often each bootstrap draw holds each track, float64 [draws, tracks]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(tracks, np.full(tracks, 1 / tracks), DRAWS).astype(np.float64)


def _share(hits: np.ndarray) -> Figure:
    return Figure(float(hits.mean()), share_interval(int(hits.sum()), len(hits)))


def _in_top(probabilities: np.ndarray, labels: np.ndarray, places: int) -> np.ndarray:
    of_label = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)
    # A tie counts against the model: equal probabilities everywhere rank every genre last.
    return (probabilities >= of_label).sum(axis=1) <= places


def _bin_members(confidences: np.ndarray) -> np.ndarray:
    """float64 [tracks, bins], one where the track's confidence lies in the bin."""
    edges = np.linspace(0.0, 1.0, BINS + 1)  # as in `calibration.reliability`
    bins = np.clip(np.digitize(confidences, edges, right=True) - 1, 0, BINS - 1)
    return np.eye(BINS)[bins]


def _calibration_errors(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The error under several weightings of the tracks, float64 [draws] of [draws, tracks]."""
    confidences = probabilities.max(axis=1).astype(np.float64)
    gaps = (probabilities.argmax(axis=1) == labels) - confidences
    by_bin = weights @ (gaps[:, np.newaxis] * _bin_members(confidences))
    return np.abs(by_bin).sum(axis=1) / len(confidences)


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
