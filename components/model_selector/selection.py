"""Chooses the model to release: the best on the validation split among the blessed ones.

The test split decides whether a model may be released, never which one: if it chose the winner, the
winner's test figures would be too good.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

# Validation losses that are no farther apart, in nats, count as equal.
LOSS_TIE = 0.01


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A judged model with its figures, at track level; None where a figure does not exist.

    Attributes:
      model: Its name in the catalog.
      validation_accuracy: Share of validation tracks that are right, in [0, 1].
      validation_loss: Mean cross-entropy of the validation tracks, in nats.
      validation_tracks: Number of validation tracks.
      tracks: Number of test tracks.
      accuracy: Share of them that are right, in [0, 1].
      accuracy_interval: Its 95 % interval.
      macro_f1: Mean of the genres' F1 on the test split, in [0, 1].
      macro_f1_interval: Its 95 % interval.
      latency_ms: 95th percentile of the time that the served model takes for a clip.
      blessed: Whether it passed every gate.
      failed: Names of the gates that it did not pass.
      reasons: One sentence for each of them.
    """

    model: str
    validation_accuracy: float | None
    validation_loss: float | None
    validation_tracks: int
    tracks: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    macro_f1: float | None
    macro_f1_interval: tuple[float, float] | None
    latency_ms: float | None
    blessed: bool
    failed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """Picks the blessed candidate with the best validation figures.

    Returns:
      Of the candidates whose validation accuracy is within one standard error of the highest, that
      with the lowest validation loss; of those within `LOSS_TIE` of it the fastest one when served,
      then the first. None if none is blessed. With 20 tracks one error moves accuracy by 0.05, so
      a strict order by accuracy would be one track's luck; the loss counts every probability, on
      tracks as they are and on their degraded copies.
    """
    blessed = [candidate for candidate in candidates if candidate.blessed]
    if not blessed:
        return None
    highest = max(_or(candidate.validation_accuracy, -math.inf) for candidate in blessed)
    accurate = [
        candidate
        for candidate in blessed
        if _or(candidate.validation_accuracy, -math.inf)
        >= highest - _standard_error(highest, candidate.validation_tracks)
    ]
    lowest = min(_or(candidate.validation_loss, math.inf) for candidate in accurate)
    tied = [
        candidate
        for candidate in accurate
        if _or(candidate.validation_loss, math.inf) <= lowest + LOSS_TIE
    ]
    return min(tied, key=lambda candidate: _or(candidate.latency_ms, math.inf))


def _standard_error(share: float, tracks: int) -> float:
    """Agresti and Coull's standard error of a share of tracks, which is not 0 for a share of 1."""
    if not tracks or not math.isfinite(share):
        return 0.0
    adjusted = (share * tracks + 2) / (tracks + 4)
    return math.sqrt(adjusted * (1 - adjusted) / (tracks + 4))


def from_judgement(model: str, judgement: Mapping[str, Any], *, tracks: int) -> Candidate:
    """Reads a candidate from the gate's report.

    Args:
      model: Its name.
      judgement: What `report.json` says of the model.
      tracks: Number of test tracks.
    """
    figures, validation = judgement["figures"], judgement["validation"]
    accuracy, macro_f1 = (figures.get(name) or {} for name in ("accuracy", "macro_f1"))
    failed = [row for row in judgement["gates"] if not row["passed"]]
    return Candidate(
        model=model,
        validation_accuracy=validation["accuracy"],
        validation_loss=validation["loss"],
        validation_tracks=validation["tracks"],
        tracks=tracks,
        accuracy=accuracy.get("value"),
        accuracy_interval=accuracy.get("interval"),
        macro_f1=macro_f1.get("value"),
        macro_f1_interval=macro_f1.get("interval"),
        latency_ms=judgement["latency"]["p95_ms"],
        blessed=judgement["blessed"],
        failed=tuple(row["gate"] for row in failed),
        reasons=tuple(map(reason, failed)),
    )


def reason(row: Mapping[str, Any]) -> str:
    """Says why a gate failed: figure, interval, threshold and detail in one sentence."""
    figure, interval, threshold = row["figure"], row["interval"], row["threshold"]
    if figure is None:
        return f"{row['title']}: {row['detail']}"
    text = f"{row['title']}: {_short(figure)}"
    if interval:
        text += f" ({interval[0]:.2f} to {interval[1]:.2f})"
    if threshold is not None:
        text += f", {row['direction']} {_short(threshold)} is needed"
    return f"{text}; {row['detail']}" if row["detail"] else text


def _short(value: float) -> str:
    return f"{value:d}" if isinstance(value, int) else f"{value:.3f}"


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or math.isnan(value) else value
