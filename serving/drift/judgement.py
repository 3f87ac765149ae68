"""Judges samples against the training statistics: one finding a figure, with its threshold."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.client.results import CLOSE_RATIO
from serving.drift import statistics
from serving.drift.samples import Samples
from serving.drift.thresholds import Thresholds

DESCRIPTORS = {
    "rms_db": "Level (RMS, dBFS)",
    "peak": "Peak",
    "silent_fraction": "Silent share",
    "clipped_fraction": "Clipped share",
    statistics.BANDWIDTH: "Bandwidth (Hz)",
    "duration_seconds": "Length (s)",
}
# A long song is sent in parts and cut into windows, so its length says nothing about the model.
_NOT_JUDGED = ("duration_seconds",)
_REFUSED_INPUT = "INVALID_ARGUMENT"
_GENRE_SHIFT = "Genres: largest change of a share"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
      name: A feature or figure, as `rms_db`.
      measure: What was measured, in words.
      value: The figure; None if it could not be computed.
      threshold: What it may be at most; None if it is only shown.
      drift: Whether it is over that.
      note: Why it is None or not judged; "" otherwise.
    """

    name: str
    measure: str
    value: float | None
    threshold: float | None = None
    drift: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Distribution:
    """A feature's shares, in the training data and in the samples, for the page.

    Attributes:
      name: The feature.
      title: In words.
      rows: Label of a bin or genre, its share in training, its share in the samples.
      means: Means of both; empty for genres.
    """

    name: str
    title: str
    rows: list[tuple[str, float, float]]
    means: tuple[float, float] | tuple[()] = ()


def judge(
    training: Any,
    samples: Samples,
    thresholds: Thresholds,
    *,
    test_confidence: float | None,
) -> tuple[list[Finding], list[Distribution]]:
    """Compares the samples with the training statistics.

    Args:
      training: TFDV's statistics of the training split.
      samples: What was sampled; one answer at least.
      thresholds: What each figure may be.
      test_confidence: Mean confidence on the release's test tracks; None if it is unknown.
    """
    findings: list[Finding] = []
    distributions: list[Distribution] = []
    for name, title in DESCRIPTORS.items():
        feature = _feature(training, samples, name)
        if feature is None:
            note = "the training statistics or the samples do not hold it"
            findings.append(Finding(name, title, None, note=note))
        else:
            findings += _descriptor(feature, thresholds)
            distributions.append(feature.distribution())
    genres = statistics.genre_counts(training)
    if samples.genres and genres:
        distribution = _genres(genres, collections.Counter(samples.genres))
        distributions.append(distribution)
        shift = max(abs(now - before) for _, before, now in distribution.rows)
        findings.append(_judged(statistics.GENRE, _GENRE_SHIFT, shift, thresholds.genre_shift))
    else:
        note = "the training statistics or the samples do not hold genres"
        findings.append(Finding(statistics.GENRE, _GENRE_SHIFT, None, note=note))
    findings += _answers(samples, thresholds, test_confidence)
    findings.append(_refused(samples, thresholds))
    return findings, distributions


@dataclasses.dataclass(frozen=True)
class _Feature:
    """A descriptor in the training data and in the samples, which fall into the same bins."""

    name: str
    bins: statistics.Bins
    actual: np.ndarray
    trained: float
    means: tuple[float, float]

    def distribution(self) -> Distribution:
        shares = _shares(self.bins.counts), _shares(self.actual)
        rows = list(zip(self.bins.names, *shares, strict=True))
        return Distribution(self.name, DESCRIPTORS[self.name], rows, self.means)


def _feature(training: Any, samples: Samples, name: str) -> _Feature | None:
    feature = statistics.feature_statistics(training, name)
    values = samples.values(name)
    bins = statistics.quantile_bins(feature) if feature is not None and values else None
    if feature is None or bins is None:
        return None
    means = float(feature.num_stats.mean), float(np.mean(values))
    trained = float(bins.counts.sum())
    return _Feature(name, bins, bins.count(values), trained, means)


def _descriptor(feature: _Feature, thresholds: Thresholds) -> list[Finding]:
    sizes = len(feature.actual), feature.trained, float(feature.actual.sum())
    index = statistics.stability_index(feature.bins.counts, feature.actual)
    divergence = statistics.divergence(feature.bins.counts, feature.actual)
    index_most: float | None = max(thresholds.psi, statistics.stability_noise(*sizes))
    most: float | None = max(thresholds.divergence, statistics.divergence_noise(*sizes))
    note = ""
    if feature.name in _NOT_JUDGED:
        index_most = most = None
        note = "shown only: songs are sent in parts, and judged in windows"
    name, title = feature.name, DESCRIPTORS[feature.name]
    return [
        _judged(name, f"{title}: stability index", index, index_most, note),
        _judged(name, f"{title}: Jensen-Shannon divergence", divergence, most, note),
    ]


def _judged(
    name: str, measure: str, value: float, threshold: float | None, note: str = ""
) -> Finding:
    # Not "value > threshold": a figure that is not a number is drift, too.
    drift = threshold is not None and not value <= threshold
    return Finding(name, measure, value, threshold, drift, note)


def _genres(trained: Mapping[str, float], served: Mapping[str, int]) -> Distribution:
    names = sorted({*trained, *served})
    before = _shares(np.array([trained.get(name, 0.0) for name in names]))
    now = _shares(np.array([served.get(name, 0) for name in names]))
    return Distribution(statistics.GENRE, "Genres", list(zip(names, before, now, strict=True)))


def _answers(
    samples: Samples, thresholds: Thresholds, test_confidence: float | None
) -> list[Finding]:
    confidence = float(np.mean(samples.values("confidence")))
    close = [answer.runner_up >= CLOSE_RATIO * answer.confidence for answer in samples.answers]
    findings = [Finding("confidence", "Mean confidence", confidence, note="shown only")]
    measure = "Mean confidence: drop from the test tracks"
    if test_confidence is None:
        note = "the release's evidence does not say how sure it was of its test tracks"
        findings.append(Finding("confidence", measure, None, note=note))
    else:
        drop = test_confidence - confidence
        findings.append(_judged("confidence", measure, drop, thresholds.confidence_drop))
    entropy = samples.values("entropy_bits")
    mean = float(np.mean(entropy)) if entropy else None
    findings.append(Finding("entropy_bits", "Mean entropy (bits)", mean, note="shown only"))
    share = float(np.mean(close))
    findings.append(_judged("close", "Share of close calls", share, thresholds.close_share))
    return findings


def _refused(samples: Samples, thresholds: Thresholds) -> Finding:
    measure = "Share of calls with refused input"
    if not samples.calls:
        return Finding("refused", measure, None, note="the samples hold no counts of calls")
    refused = sum(
        count for (status, _), count in samples.refused.items() if status == _REFUSED_INPUT
    )
    return _judged("refused", measure, refused / samples.calls, thresholds.refused_share)


def _shares(counts: np.ndarray) -> list[float]:
    total = counts.sum()
    return [float(count / total) if total else 0.0 for count in counts]
