"""Figures of a model's answers for labelled tracks, each with its 95 % interval over tracks.

Shares (accuracy, top-3 accuracy, recall) have Wilson's interval, because a bootstrap of 14 right
tracks of 14 would say that the accuracy is surely 1. All other figures have a percentile bootstrap
over tracks (Efron, Annals of Statistics 7 (1), 1979).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from components.common import metrics
from components.common.metrics import CONFIDENCE, share_interval

DRAWS = 2000
_NAMES = ("accuracy", "top_3_accuracy", "macro_f1", "log_loss", "ece", "brier")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval; NaN and None where it does not exist."""

    value: float
    interval: tuple[float, float] | None = None

    @property
    def exists(self) -> bool:
        """Whether the value is a finite number."""
        return math.isfinite(self.value)

    def __neg__(self) -> "Figure":
        ends = self.interval
        return Figure(-self.value, None if ends is None else (-ends[1], -ends[0]))


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
      `accuracy`, `top_3_accuracy`, `macro_f1`, `log_loss` (nats), `ece` and `brier` (0 to 2), see
      `components.common.metrics`. All are missing if there is no track, or a probability is NaN.
    """
    tracks = len(labels)
    if not tracks or not np.isfinite(probabilities).all():
        return dict.fromkeys(_NAMES, MISSING)
    confusion = metrics.confusion_matrix(probabilities, labels)
    drawn = bootstrap_counts(tracks, seed)
    is_right = probabilities.argmax(axis=1) == labels
    losses = metrics.log_losses(probabilities, labels)
    distances = metrics.brier_scores(probabilities, labels)
    return {
        "accuracy": share(int(is_right.sum()), tracks),
        "top_3_accuracy": share(int(_in_top(probabilities, labels, 3).sum()), tracks),
        "macro_f1": Figure(
            metrics.macro_f1(confusion), metrics.macro_f1_interval(confusion, seed=seed)
        ),
        "log_loss": Figure(float(losses.mean()), interval(drawn @ losses / tracks)),
        "ece": Figure(
            metrics.calibration_error(metrics.reliability(probabilities, labels)),
            interval(_calibration_errors(probabilities, labels, drawn)),
        ),
        "brier": Figure(float(distances.mean()), interval(drawn @ distances / tracks)),
    }


def by_genre(
    probabilities: np.ndarray, labels: np.ndarray, genres: Sequence[str]
) -> list[GenreFigures]:
    """Figures of every genre, in label order; arguments as in `overall`."""
    confusion = metrics.confusion_matrix(probabilities, labels)
    precision, recall, f1 = metrics.precision_recall_f1(confusion)
    rows = []
    for index, genre in enumerate(genres):
        actual = labels == index
        tracks = int(actual.sum())
        is_mixed = 0 < tracks < len(labels)
        rows.append(
            GenreFigures(
                genre=genre,
                tracks=tracks,
                precision=_or_none(precision[index]),
                recall=_or_none(recall[index]),
                recall_interval=share_interval(int(confusion[index, index]), tracks)
                if tracks
                else None,
                f1=_or_none(f1[index]),
                auc=float(roc_auc_score(actual, probabilities[:, index])) if is_mixed else None,
            )
        )
    return rows


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


def share(hits: int, tracks: int) -> Figure:
    """A share of tracks, of at least one, with Wilson's interval.

    Examples:
      >>> share(3, 4).value
      0.75
    """
    return Figure(hits / tracks, share_interval(hits, tracks))


def _in_top(probabilities: np.ndarray, labels: np.ndarray, places: int) -> np.ndarray:
    of_label = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)
    # A tie counts against the model: equal probabilities everywhere rank every genre last.
    return (probabilities >= of_label).sum(axis=1) <= places


def _bin_members(confidences: np.ndarray) -> np.ndarray:
    """float64 [tracks, bins], one where the track's confidence lies in the bin."""
    return np.eye(metrics.BINS)[metrics.bin_numbers(confidences)]


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
