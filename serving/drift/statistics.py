"""Statistics of training data and samples, and the distance between them.

TFDV's statistics of the training split come with the released version: quantiles of its
descriptors, and its genres. Samples are counted in the same bins.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import distance

GENRE = "genre"

_CHANCE = 0.999  # of samples of the very training data, so many stay under the noise


@dataclasses.dataclass(frozen=True)
class Bins:
    """Quantile bins of a feature in the training data.

    A value that takes up a whole bin (digital silence, the full bandwidth) has a bin of its own.

    Attributes:
      bounds: float64 [bins - 1], ascending: bin i holds what is over bound i - 1 and up to bound i.
      counts: float64 [bins], training examples.
    """

    bounds: np.ndarray
    counts: np.ndarray

    @property
    def names(self) -> list[str]:
        """Each bin by its bounds, "≤ 1", "1 – 2", "> 2"; a value with its own bin is "0"."""
        if not len(self.bounds):
            return ["all"]
        names = [f"≤ {_text(self.bounds[0])}"]
        for low, high in itertools.pairwise(self.bounds):
            own = math.nextafter(high, -math.inf) == low
            names.append(_text(high) if own else f"{_text(low)} – {_text(high)}")
            if own and len(names) == 2:
                names[0] = f"< {_text(high)}"
        return [*names, f"> {_text(self.bounds[-1])}"]

    def count(self, values: Sequence[float]) -> np.ndarray:
        """int64 [bins]: how many of the values are in each."""
        numbers = np.searchsorted(self.bounds, np.asarray(values, np.float64), side="left")
        return np.bincount(numbers, minlength=len(self.counts))


def _text(bound: float) -> str:
    return f"{bound:.0f}" if abs(bound) >= 1e4 else f"{bound:.4g}"


def feature_statistics(statistics: Any, name: str) -> Any | None:
    """A feature's statistics; None if there are none of it."""
    for feature in statistics.datasets[0].features:
        if feature.path.step == [name] or feature.name == name:
            return feature
    return None


def genre_counts(statistics: Any) -> dict[str, float]:
    """The number of examples of each genre; empty without statistics of genres."""
    feature = feature_statistics(statistics, GENRE)
    if feature is None:
        return {}
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count for bucket in buckets}


def quantile_bins(feature: Any, *, largest: float = math.inf) -> Bins | None:
    """The feature's quantile bins (TFDV's, ten by default); None if there are none.

    Args:
      feature: TFDV's statistics of it.
      largest: The largest value that a sample can have; larger ones of the training data are
        counted as this.
    """
    histograms = [
        histogram
        for histogram in feature.num_stats.histograms
        if histogram.type == histogram.QUANTILES
    ]
    buckets = [
        (min(bucket.low_value, largest), min(bucket.high_value, largest), bucket.sample_count)
        for histogram in histograms[:1]
        for bucket in histogram.buckets
    ]
    if not buckets:
        return None
    bounds: list[float] = []
    counts: list[float] = []
    for _, high, count in buckets:
        if bounds and high == bounds[-1]:
            counts[-1] += count
        else:
            bounds.append(high)
            counts.append(count)
    (lowest, first_high, _), (last_low, highest, _) = buckets[0], buckets[-1]
    zeros = float(feature.num_stats.num_zeros)
    if lowest == bounds[0] == 0 and len(bounds) > 1 and zeros > counts[0]:
        counts[1] = max(counts[1] - (zeros - counts[0]), 0.0)  # zeros that the next quantile holds
        counts[0] = zeros
    if last_low == highest:
        counts.append(0.0)  # above a maximum that is a bin of its own
    else:
        bounds.pop()  # the last bin takes what is above the maximum, too
    if lowest == first_high:
        bounds.insert(0, math.nextafter(lowest, -math.inf))
        counts.insert(0, 0.0)
    return Bins(np.array(bounds), np.array(counts))


def divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two histograms over the same bins, 0 to 1 bit.

    Bins are the training data's quantiles. TFDV's own comparison of numbers has bins of equal width
    between each data set's extremes, and spreads a value that is frequent (the full bandwidth) over
    one of them: a single odd track would then look like drift.

    Args:
      expected: [bins], counts in the training data.
      actual: [bins], counts in the samples.
    """
    return float(distance.jensenshannon(expected, actual, base=2) ** 2)


def divergence_noise(bins: int, expected: float, actual: float) -> float:
    """The divergence in bits that samples of the very training data stay under, 999 times in 1000.

    For small changes 8 ln 2 times the divergence is the population stability index (both are
    f-divergences: Csiszar and Shields, Information Theory and Statistics, 2004, section 4). That is
    about chi-square distributed with bins - 1 degrees of freedom, times 1 / expected + 1 / actual
    (Yurdakul and Naranjo, Statistical Properties of the Population Stability Index, Journal of Risk
    Model Validation, 2020).

    Args:
      bins: Number of bins.
      expected: Training examples.
      actual: Samples.
    """
    chance = stats.chi2.ppf(_CHANCE, max(bins - 1, 1)) * (1 / expected + 1 / actual)
    return float(chance / (8 * math.log(2)))
