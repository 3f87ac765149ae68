"""Compares answers of two models, or of one model for two forms of the sound, track by track."""

import dataclasses
import math
from typing import Literal

import numpy as np
from scipy import stats

from components.common import metrics
from components.common.metrics import CONFIDENCE
from components.gate import statistics
from components.gate.statistics import Figure


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A candidate beside a reference on the same tracks.

    Attributes:
      tracks: Number of tracks.
      only_candidate: Tracks that the candidate alone has right.
      only_reference: Tracks that the reference alone has right.
      accuracy_difference: The candidate's accuracy minus the reference's.
      mcnemar_p: McNemar's exact test, two-sided.
      accuracy_chance: Probability that of two equally good models the first comes out as far
        behind the second, or farther (McNemar's exact test, one-sided).
      log_loss_difference: The candidate's log loss minus the reference's, in nats.
      log_loss_chance: Share of the bootstrap's draws in which the candidate's log loss is not the
        higher one.
      reference_accuracy: The reference's accuracy on these tracks.
      reference_log_loss: Its log loss on them, in nats.
    """

    tracks: int
    only_candidate: int
    only_reference: int
    accuracy_difference: Figure
    mcnemar_p: float
    accuracy_chance: float
    log_loss_difference: Figure
    log_loss_chance: float
    reference_accuracy: float = math.nan
    reference_log_loss: float = math.nan


@dataclasses.dataclass(frozen=True)
class Robustness:
    """A model's answers for deformed tracks beside those for the tracks as they are.

    Attributes:
      accuracy: On the deformed tracks; one that could not be answered is wrong.
      drop: How much lower that is than on the tracks as they are.
      drop_chance: Probability of so large a drop if the deformation did no harm.
      changed: Share of tracks whose most probable genre is another one.
      changed_tracks: Their number.
      log_loss: On the deformed tracks, in nats; one that could not be answered counts as a guess.
      log_loss_increase: How much higher that is than on the tracks as they are.
      log_loss_chance: Share of the bootstrap's draws in which it is not higher.
      tracks: Number of tracks.
    """

    accuracy: Figure
    drop: Figure
    drop_chance: float
    changed: Figure
    changed_tracks: int
    log_loss: float
    log_loss_increase: Figure
    log_loss_chance: float
    tracks: int


def compare(
    candidate: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Comparison:
    """Compares two models on the same tracks.

    Args:
      candidate: Probabilities, finite float [tracks, genres].
      reference: The same of the reference.
      labels: int [tracks], of at least one track.
      seed: Of the bootstrap.

    Examples:
      >>> candidate, reference = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.9, 0.1]] * 2)
      >>> compare(candidate, reference, np.array([0, 1])).only_candidate
      1
    """
    right = candidate.argmax(axis=1) == labels
    reference_right = reference.argmax(axis=1) == labels
    only_candidate = int((right & ~reference_right).sum())
    only_reference = int((reference_right & ~right).sum())
    reference_losses = metrics.log_losses(reference, labels)
    increase, increase_chance = _increase(
        metrics.log_losses(candidate, labels) - reference_losses, seed
    )
    return Comparison(
        tracks=len(labels),
        only_candidate=only_candidate,
        only_reference=only_reference,
        accuracy_difference=_difference(only_candidate, only_reference, len(labels)),
        mcnemar_p=_mcnemar(only_candidate, only_reference, "two-sided"),
        accuracy_chance=_mcnemar(only_candidate, only_reference, "less"),
        log_loss_difference=increase,
        log_loss_chance=increase_chance,
        reference_accuracy=float(reference_right.mean()),
        reference_log_loss=float(reference_losses.mean()),
    )


def robustness(
    clean: np.ndarray, deformed: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Robustness:
    """Compares a model's probabilities for deformed tracks with those for the tracks as they are.

    Args:
      clean: float [tracks, genres], of at least one track; NaN for one without an answer.
      deformed: The same of the deformed tracks.
      labels: int [tracks].
      seed: Of the bootstrap.
    """
    tracks, genres = clean.shape
    (answers, losses), (deformed_answers, deformed_losses) = (
        (
            np.where(answered, rows.argmax(axis=1), -1),
            np.where(answered, metrics.log_losses(np.nan_to_num(rows), labels), math.log(genres)),
        )
        for rows, answered in ((rows, np.isfinite(rows).all(axis=1)) for rows in (clean, deformed))
    )
    right, deformed_right = answers == labels, deformed_answers == labels
    only_clean = int((right & ~deformed_right).sum())
    only_deformed = int((deformed_right & ~right).sum())
    changed = int((answers != deformed_answers).sum())
    increase, increase_chance = _increase(deformed_losses - losses, seed)
    return Robustness(
        accuracy=statistics.share(int(deformed_right.sum()), tracks),
        drop=_difference(only_clean, only_deformed, tracks),
        drop_chance=_mcnemar(only_deformed, only_clean, "less"),
        changed=statistics.share(changed, tracks),
        changed_tracks=changed,
        log_loss=float(deformed_losses.mean()),
        log_loss_increase=increase,
        log_loss_chance=increase_chance,
        tracks=tracks,
    )


def chance(
    hits: int, tracks: int, share: float, alternative: Literal["less", "greater", "two-sided"]
) -> float:
    """Probability of so many hits, or so few, where each track is one with probability `share`.

    Examples:
      >>> chance(0, 3, 0.5, "less")  # only production is right about three tracks
      0.125
    """
    return float(stats.binomtest(hits, tracks, share, alternative=alternative).pvalue)


def _increase(increases: np.ndarray, seed: int) -> tuple[Figure, float]:
    """The mean over tracks with its interval, and the share of draws in which it is not over 0."""
    drawn = statistics.bootstrap_counts(len(increases), seed) @ increases / len(increases)
    figure = Figure(float(increases.mean()), statistics.interval(drawn))
    return figure, float((drawn <= 0).mean())


def _mcnemar(only_first: int, only_second: int, alternative: Literal["less", "two-sided"]) -> float:
    """McNemar's exact test on the tracks that only one of the two has right.

    Source: McNemar, Psychometrika 12 (2), 1947.
    """
    discordant = only_first + only_second
    return chance(only_first, discordant, 0.5, alternative) if discordant else 1.0


def _difference(only_first: int, only_second: int, tracks: int) -> Figure:
    """Difference of two accuracies on the same tracks, with its 95 % interval.

    Half a track is added to each of the four kinds, so that the interval of two models that differ
    on no track is not a point. Source: Agresti and Min, Statistics in Medicine 24 (5), 2005.
    """
    first, second, total = only_first + 0.5, only_second + 0.5, tracks + 2.0
    middle = (first - second) / total
    deviation = np.sqrt(first + second - (first - second) ** 2 / total) / total
    width = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * deviation)
    low, high = max(-1.0, middle - width), min(1.0, middle + width)
    return Figure((only_first - only_second) / tracks, (low, high))
