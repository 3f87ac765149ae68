"""Judges samples against the training statistics: one finding a figure, with its threshold."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.audio.settings import AudioSettings
from serving.client.results import CLOSE_RATIO
from serving.drift import statistics
from serving.drift.samples import Samples

DESCRIPTORS = {
    "rms_db": "Level (RMS, dBFS)",
    "peak": "Peak",
    "silent_fraction": "Silent share",
    "clipped_fraction": "Clipped share",
    "bandwidth_hz": "Bandwidth (Hz)",
}
# Ingest measures a file at its own rate; what is served was resampled.
_LARGEST = {"bandwidth_hz": AudioSettings().sample_rate_hz / 2}
_REFUSED_INPUT = "INVALID_ARGUMENT"
_NOT_HELD = "the training statistics or the samples do not hold it"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a figure may be at most; docs/explanation/serving.md gives the reasons.

    Attributes:
      divergence: Jensen-Shannon divergence of a descriptor, in bits.
      genre_shift: Largest change of a genre's share, 0 to 1.
      confidence_drop: Mean confidence on the test tracks less that on the samples.
      close_share: Share of answers whose runner-up is close.
      refused_share: Share of calls whose input was refused.
    """

    divergence: float = 0.045
    genre_shift: float = 0.2
    confidence_drop: float = 0.15
    close_share: float = 0.5
    refused_share: float = 0.1


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
      name: A feature or figure, as `rms_db`.
      measure: What was measured, in words.
      value: The figure; None if it could not be computed.
      threshold: What it may be at most; None if it was not judged.
      drift: Whether it is over that.
      note: Why it is None; "" otherwise.
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
      title: The feature in words.
      rows: Label of a bin or genre, its share in training, its share in the samples.
      means: Means of both; empty for genres.
    """

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
    for name in DESCRIPTORS:
        finding, distribution = _descriptor(training, samples, name, thresholds.divergence)
        findings.append(finding)
        distributions += distribution
    finding, distribution = _genres(training, samples, thresholds.genre_shift)
    distributions += distribution
    confidence = float(np.mean(samples.values("confidence")))
    close = np.mean([a.runner_up >= CLOSE_RATIO * a.confidence for a in samples.answers])
    findings += [
        finding,
        _judged(
            "confidence",
            "Mean confidence: drop from the test tracks",
            None if test_confidence is None else test_confidence - confidence,
            thresholds.confidence_drop,
            "the release's evidence does not say how sure it was of its test tracks",
        ),
        _judged("close", "Share of close calls", float(close), thresholds.close_share),
        _refused(samples, thresholds.refused_share),
    ]
    return findings, distributions


def _judged(
    name: str, measure: str, value: float | None, threshold: float, missing: str = ""
) -> Finding:
    if value is None:
        return Finding(name, measure, None, note=missing)
    # Not "value > threshold": a figure that is not a number is drift, too.
    return Finding(name, measure, value, threshold, drift=not value <= threshold)


def _descriptor(
    training: Any, samples: Samples, name: str, threshold: float
) -> tuple[Finding, list[Distribution]]:
    measure = f"{DESCRIPTORS[name]}: Jensen-Shannon divergence"
    feature, values = statistics.feature_statistics(training, name), samples.values(name)
    largest = _LARGEST.get(name, math.inf)
    bins = statistics.quantile_bins(feature, largest=largest) if feature is not None else None
    if feature is None or bins is None or not values:
        return _judged(name, measure, None, threshold, _NOT_HELD), []
    actual = bins.count(values)
    noise = statistics.divergence_noise(len(actual), float(bins.counts.sum()), len(values))
    divergence = statistics.divergence(bins.counts, actual)
    means = min(float(feature.num_stats.mean), largest), float(np.mean(values))
    rows = _rows(bins.names, bins.counts, actual)
    finding = _judged(name, measure, divergence, max(threshold, noise))
    return finding, [Distribution(DESCRIPTORS[name], rows, means)]


def _genres(
    training: Any, samples: Samples, threshold: float
) -> tuple[Finding, list[Distribution]]:
    measure = "Genres: largest change of a share"
    trained, served = statistics.genre_counts(training), collections.Counter(samples.genres)
    if not trained or not served:
        return _judged(statistics.GENRE, measure, None, threshold, _NOT_HELD), []
    names = sorted({*trained, *served})
    counts = [np.array([counted.get(name, 0) for name in names]) for counted in (trained, served)]
    rows = _rows(names, *counts)
    shift = max(abs(now - before) for _, before, now in rows)
    return _judged(statistics.GENRE, measure, shift, threshold), [Distribution("Genres", rows)]


def _refused(samples: Samples, threshold: float) -> Finding:
    refused = sum(
        count for (status, _), count in samples.refused.items() if status == _REFUSED_INPUT
    )
    share = refused / samples.calls if samples.calls else None
    measure, missing = "Share of calls with refused input", "the samples hold no counts of calls"
    return _judged("refused", measure, share, threshold, missing)


def _rows(
    names: Sequence[str], before: np.ndarray, now: np.ndarray
) -> list[tuple[str, float, float]]:
    shares = [(counts / max(counts.sum(), 1)).tolist() for counts in (before, now)]
    return list(zip(names, *shares, strict=True))
