"""Gates on figures of the test split: minimums, genres, slices, calibration and the simple peer."""

import math

from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import (
    AT_LEAST,
    AT_MOST,
    ROUNDING,
    GateRow,
    at_least,
    at_most,
    missing,
    not_judged,
)
from components.gate.settings import GateSettings
from components.gate.statistics import MISSING

_TOP = 3


def overall(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Accuracy, macro-F1 and top-3 accuracy have absolute minimums."""
    return [
        at_least(name, title, evidence.figures.get(name, MISSING), threshold, evidence)
        for name, title, threshold in (
            ("accuracy", "Accuracy", settings.min_accuracy),
            ("macro_f1", "Macro-F1", settings.min_macro_f1),
        )
        if threshold is not None
    ] + _top_3_accuracy(evidence, settings.min_top_3_accuracy)


def _top_3_accuracy(evidence: Evidence, threshold: float | None) -> list[GateRow]:
    if threshold is None:
        return []
    gate, title = "top_3_accuracy", "Top-3 accuracy"
    figure = evidence.figures.get(gate, MISSING)
    genres = len(evidence.by_genre)
    if figure.exists and 0 < genres <= _TOP:
        few = f"each of {genres} genres is always among the {_TOP} most probable"
        return [not_judged(gate, title, threshold, AT_LEAST, few)]
    return [at_least(gate, title, figure, threshold, evidence)]


def genre_recall(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No genre with enough tracks may be forgotten."""
    threshold = settings.min_genre_recall
    if threshold is None:
        return []
    gate, title = "genre_recall", "Lowest recall of a genre"
    if not evidence.by_genre:
        return [missing(gate, title, threshold, AT_LEAST, evidence, "answers")]
    judged = [row for row in evidence.by_genre if row.tracks >= settings.min_tracks]
    if not judged:
        few = f"no genre has the {settings.min_tracks} test tracks that it takes to be judged"
        return [not_judged(gate, title, threshold, AT_LEAST, few)]
    worst = min(judged, key=lambda row: -math.inf if row.recall is None else row.recall)
    forgotten = [
        row.genre for row in judged if row.recall is None or row.recall < threshold - ROUNDING
    ]
    detail = f"{worst.genre}, of {len(judged)} genres with {settings.min_tracks} tracks or more"
    if forgotten:
        detail = f"under it: {', '.join(forgotten)}"
    return [
        GateRow(
            *(gate, title, worst.recall, threshold, AT_LEAST, not forgotten),
            interval=worst.recall_interval,
            detail=detail,
        )
    ]


def slices(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No part of the tracks may be far behind all of them, beyond what chance does."""
    limit = settings.max_slice_deficit
    if limit is None:
        return []
    gate, title = "slices", "Largest deficit in accuracy of a slice"
    accuracy = evidence.figures.get("accuracy", MISSING)
    if evidence.slices is None or not accuracy.exists:
        return [missing(gate, title, limit, AT_MOST, evidence, "slices")]
    if not all(one.accuracy.exists for one in evidence.slices if one.tracks):
        return [missing(gate, title, limit, AT_MOST, evidence, "slices")]
    # Genres have a gate of their own; a slice of all tracks says nothing new.
    judged = [
        one
        for one in evidence.slices
        if one.slice != "genre" and settings.min_tracks <= one.tracks < evidence.answered_tracks
    ]
    if not judged:
        few = f"no part of the tracks has {settings.min_tracks} tracks without being all of them"
        return [not_judged(gate, title, limit, AT_MOST, few)]
    worst = min(judged, key=lambda one: one.accuracy.value)
    failed = []
    for one in judged:
        right = round(one.accuracy.value * one.tracks)
        chance = paired.chance_of_so_few(right, one.tracks, accuracy.value)
        too_low = accuracy.value - one.accuracy.value > limit + ROUNDING
        if too_low and chance <= settings.max_chance:
            failed.append(one)
    named = failed or [worst]
    return [
        GateRow(
            *(gate, title, accuracy.value - worst.accuracy.value, limit, AT_MOST, not failed),
            reference=accuracy.value,
            detail="; ".join(
                f"{one.slice} {one.value}: {one.accuracy.value:.3f} on {one.tracks} tracks"
                for one in named
            ),
        )
    ]


def calibration(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Confidence must be near accuracy, beyond what chance does with so few tracks."""
    limit = settings.max_ece
    if limit is None:
        return []
    error = evidence.figures.get("ece", MISSING)
    chance = evidence.calibration_by_chance
    if chance is None or not math.isfinite(chance):
        return [missing("calibration", "Calibration error", limit, AT_MOST, evidence, "answers")]
    threshold = max(limit, chance)
    tracks = evidence.answered_tracks
    detail = f"of {tracks} tracks, a perfectly calibrated model may show {chance:.3f} by chance"
    if chance > limit:
        detail = f"the threshold is not {limit:g}: {detail}"
    return [at_most("calibration", "Calibration error", error, threshold, evidence, detail=detail)]


def baseline(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """A network must beat the simple peer by the margin, or be right on every track."""
    margin = settings.min_margin_over_baseline
    if margin is None:
        return []
    baseline_accuracy = evidence.baseline.get("accuracy", MISSING)
    title = "Accuracy above the baseline, a logistic regression"
    if not baseline_accuracy.exists:
        return [missing("baseline", title, None, AT_LEAST, evidence, "baseline")]
    return [
        at_least(
            *("baseline", title, evidence.figures.get("accuracy", MISSING)),
            min(1.0, baseline_accuracy.value + margin),
            evidence,
            reference=baseline_accuracy.value,
            detail=f"the baseline has {baseline_accuracy.value:.3f}, and the margin is {margin:g}",
        )
    ]
