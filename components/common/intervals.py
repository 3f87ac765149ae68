"""95 % intervals over tracks for the figures of a test split."""

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_DRAWS = 2000


def accuracy_interval(confusion: np.ndarray) -> tuple[float, float]:
    """Wilson's score interval of the share of tracks that are right.

    Args:
      confusion: Counts of tracks [genres, genres], row = actual, column = predicted.

    Returns:
      Its ends, in [0, 1]. Source: Wilson, JASA 22 (158), 1927.
    """
    return share_interval(int(np.trace(confusion)), int(confusion.sum()))


def share_interval(hits: int, tracks: int) -> tuple[float, float]:
    """Wilson's score interval of a share of tracks; see `accuracy_interval`.

    Unlike a bootstrap it does not shrink to a point where all tracks or none are hits.
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
