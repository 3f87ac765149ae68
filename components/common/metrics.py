"""Figures of answers for labelled examples, with 95 % intervals over tracks.

In `common` because trainers, gate, report and MLflow show the same figures. Where a figure is 0 / 0
it is NaN. What scikit-learn and scipy have is theirs.
"""

import dataclasses
import math

import numpy as np
from scipy import stats
from sklearn import metrics

CONFIDENCE = 0.95
BINS = 10  # of confidence, of equal width
_DRAWS = 2000
# A genre that was given no probability at all costs this much and not infinitely much.
_LEAST_PROBABILITY = 1e-7


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracy, macro-F1 and loss of a set of examples.

    Attributes:
      accuracy: Share of examples whose most probable genre is the right one.
      macro_f1: Mean F1 over the genres that occur as a label or as a prediction.
      loss: Mean cross-entropy, in nats.
    """

    accuracy: float
    macro_f1: float
    loss: float


@dataclasses.dataclass(frozen=True)
class Bin:
    """Tracks whose confidence, the probability of the most probable genre, lies in a range.

    Attributes:
      low: Lower end of the range, exclusive but for 0.
      high: Upper end, inclusive.
      confidence: Their mean confidence; NaN without tracks.
      accuracy: Share of them that are right; NaN without tracks.
      tracks: How many there are.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    tracks: int


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores examples, windows or tracks alike.

    Args:
      probabilities: float [examples, genres].
      labels: int [examples].

    Raises:
      ValueError: There are no examples, or the shapes do not match.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise ValueError(
            "probabilities must be [examples, genres] and labels [examples], of at least one. "
            f"Received: {probabilities.shape} and {np.shape(labels)}"
        )
    predicted = probabilities.argmax(axis=1)
    return Scores(
        accuracy=float(metrics.accuracy_score(labels, predicted)),
        macro_f1=float(metrics.f1_score(labels, predicted, average="macro")),
        loss=log_loss(probabilities, labels),
    )


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each example in nats, float64 [examples].

    A probability under 1e-7 counts as that. scikit-learn's loss would warn about rows whose float32
    sum is not quite 1, and clips float32 and float64 differently.
    """
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(of_label, _LEAST_PROBABILITY))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of `log_losses`."""
    return float(log_losses(probabilities, labels).mean())


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance of each example's probabilities to its label, [examples], 0 to 2.

    Source: Brier, Monthly Weather Review 78 (1), 1950.
    """
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts int64 [genres, genres]; row = actual genre, column = the most probable one."""
    return metrics.confusion_matrix(
        labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])
    )


def precision_recall_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each genre, float64 [genres].

    Args:
      confusion: Counts [genres, genres], row = actual, column = predicted.
    """
    hits = np.diag(confusion).astype(np.float64)
    predicted, actual = confusion.sum(axis=0), confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / predicted, hits / actual, 2 * hits / (predicted + actual)


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the genres that occur or are predicted; arguments as `precision_recall_f1`."""
    return float(np.nanmean(precision_recall_f1(confusion)[2]))


def bin_numbers(confidences: np.ndarray) -> np.ndarray:
    """The bin of confidence, 0 to `BINS` - 1, of each example."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return np.clip(np.digitize(confidences, edges, right=True) - 1, 0, BINS - 1)


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """Compares confidence and accuracy in bins of confidence: the reliability diagram.

    Args:
      probabilities: float [tracks, genres], finite.
      labels: int [tracks].

    Returns:
      `BINS` bins, empty ones included.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    numbers = bin_numbers(confidence)
    edges = np.linspace(0.0, 1.0, BINS + 1)
    bins = []
    for index in range(BINS):
        inside = numbers == index
        count = int(inside.sum())
        bins.append(
            Bin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                confidence=float(confidence[inside].mean()) if count else math.nan,
                accuracy=float(right[inside].mean()) if count else math.nan,
                tracks=count,
            )
        )
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error of a reliability diagram, 0 to 1; NaN without tracks.

    The mean distance of confidence and accuracy over the bins, weighted by tracks. Source: Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    filled = [each for each in bins if each.tracks]
    if not filled:
        return math.nan
    gaps = sum(each.tracks * abs(each.confidence - each.accuracy) for each in filled)
    return gaps / sum(each.tracks for each in filled)


def track_means(window_values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Averages each track's windows.

    Args:
      window_values: float [tracks, windows, …].
      counts: bool [tracks, windows], true for windows that count; at least one of each track.

    Returns:
      [tracks, …].
    """
    where = counts.reshape(*counts.shape, *[1] * (window_values.ndim - 2))
    return window_values.mean(axis=1, where=where)


def track_scores(
    window_probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> Scores:
    """Scores tracks by the mean of their windows.

    Args:
      window_probabilities: float [tracks, windows, genres].
      labels: int [tracks].
      counts: bool [tracks, windows], which windows count.
    """
    return score(track_means(window_probabilities, counts), labels)


def window_scores(
    window_probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> Scores:
    """Scores every counting window with its track's label; see `track_scores`."""
    repeated = np.broadcast_to(labels[:, np.newaxis], counts.shape)
    return score(window_probabilities[counts], repeated[counts])


def share_interval(hits: int, tracks: int) -> tuple[float, float]:
    """Wilson's score interval of a share of tracks, in [0, 1].

    Unlike a bootstrap it does not shrink to a point where all tracks or none are hits. Source:
    Wilson, JASA 22 (158), 1927.

    Examples:
      >>> [round(end, 2) for end in share_interval(8, 12)]
      [0.39, 0.86]
    """
    interval = stats.binomtest(hits, tracks).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def macro_f1_interval(confusion: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap over tracks of the mean of the genres' F1.

    Macro-F1 depends on the confusion matrix alone, so drawing tracks with replacement is drawing
    the matrix from a multinomial distribution. Source: Efron, Annals of Statistics 7 (1), 1979.

    Args:
      confusion: Counts of tracks [genres, genres], row = actual, column = predicted.
      seed: Of the draws.

    Returns:
      Its ends, in [0, 1]. A genre that a draw neither holds nor predicts does not count in it.

    Examples:
      >>> low, high = macro_f1_interval(np.array([[5, 1], [1, 5]]))
      >>> 0.4 < low < 10 / 12 < high
      True
    """
    tracks = int(confusion.sum())
    draws = np.random.default_rng(seed).multinomial(tracks, confusion.ravel() / tracks, _DRAWS)
    drawn = draws.reshape(-1, *confusion.shape)
    hits = np.diagonal(drawn, axis1=1, axis2=2)
    occurrences = drawn.sum(axis=1) + drawn.sum(axis=2)
    f1 = np.divide(2.0 * hits, occurrences, out=np.full(hits.shape, np.nan), where=occurrences > 0)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.nanmean(f1, axis=1), [tail, 100 - tail])
    return float(low), float(high)
