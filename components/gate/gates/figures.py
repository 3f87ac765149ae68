"""Gates on figures of the test split: minimums, genres, slices, calibration and the baseline."""

import math

from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import AT_LEAST, AT_MOST, ROUNDING, GateRow, Question
from components.gate.settings import GateSettings
from components.gate.statistics import MISSING

_TOP_3 = "top_3_accuracy"


def overall(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Accuracy, macro-F1 and top-3 accuracy have absolute minimums."""
    rows = []
    for gate, title, threshold in (
        ("accuracy", "Accuracy", settings.min_accuracy),
        ("macro_f1", "Macro-F1", settings.min_macro_f1),
        (_TOP_3, "Top-3 accuracy", settings.min_top_3_accuracy),
    ):
        if threshold is None:
            continue
        question = Question(gate=gate, title=title, threshold=threshold, direction=AT_LEAST)
        figure = evidence.figures.get(gate, MISSING)
        genres = len(evidence.by_genre)
        if gate == _TOP_3 and figure.exists and 0 < genres <= 3:
            few = f"each of {genres} genres is always among the 3 most probable"
            rows.append(question.not_judged(few))
        else:
            rows.append(question.compared(figure, evidence))
    return rows


def genre_recall(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No genre with enough tracks may be forgotten."""
    threshold = settings.min_genre_recall
    if threshold is None:
        return []
    question = Question(
        gate="genre_recall",
        title="Lowest recall of a genre",
        threshold=threshold,
        direction=AT_LEAST,
    )
    if not evidence.by_genre:
        return [question.missing(evidence, "answers")]
    judged = [row for row in evidence.by_genre if row.tracks >= settings.min_tracks]
    if not judged:
        few = f"no genre has the {settings.min_tracks} test tracks that it takes to be judged"
        return [question.not_judged(few)]
    worst = min(judged, key=lambda row: -math.inf if row.recall is None else row.recall)
    forgotten = [
        row.genre for row in judged if row.recall is None or row.recall < threshold - ROUNDING
    ]
    detail = f"{worst.genre}, of {len(judged)} genres with {settings.min_tracks} tracks or more"
    if forgotten:
        detail = f"under it: {', '.join(forgotten)}"
    return [
        question.row(
            worst.recall, passed=not forgotten, interval=worst.recall_interval, detail=detail
        )
    ]


def slices(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No part of the tracks may be far behind all of them, beyond what chance does."""
    limit = settings.max_slice_deficit
    if limit is None:
        return []
    question = Question(
        gate="slices",
        title="Largest deficit in accuracy of a slice",
        threshold=limit,
        direction=AT_MOST,
    )
    accuracy = evidence.figures.get("accuracy", MISSING)
    parts = evidence.slices
    if parts is None or not accuracy.exists:
        return [question.missing(evidence, "slices")]
    if not all(part.accuracy.exists for part in parts if part.tracks):
        return [question.missing(evidence, "slices")]
    # Genres have a gate of their own; a slice of all tracks says nothing new.
    judged = [
        part
        for part in parts
        if part.slice != "genre" and settings.min_tracks <= part.tracks < evidence.answered_tracks
    ]
    if not judged:
        few = f"no part of the tracks has {settings.min_tracks} tracks without being all of them"
        return [question.not_judged(few)]
    worst = min(judged, key=lambda part: part.accuracy.value)
    failed = []
    for part in judged:
        right = round(part.accuracy.value * part.tracks)
        chance = paired.chance_of_so_few(right, part.tracks, accuracy.value)
        too_low = accuracy.value - part.accuracy.value > limit + ROUNDING
        if too_low and chance <= settings.max_chance:
            failed.append(part)
    return [
        question.row(
            accuracy.value - worst.accuracy.value,
            passed=not failed,
            reference=accuracy.value,
            detail="; ".join(
                f"{part.slice} {part.value}: {part.accuracy.value:.3f} on {part.tracks} tracks"
                for part in failed or [worst]
            ),
        )
    ]


def calibration(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Confidence must be near accuracy, beyond what chance does with so few tracks."""
    limit = settings.max_ece
    if limit is None:
        return []
    chance = evidence.calibration_by_chance
    is_known = chance is not None and math.isfinite(chance)
    question = Question(
        gate="calibration",
        title="Calibration error",
        threshold=max(limit, chance) if chance is not None and is_known else limit,
        direction=AT_MOST,
    )
    if not is_known:
        return [question.missing(evidence, "answers")]
    tracks = evidence.answered_tracks
    detail = f"of {tracks} tracks, a perfectly calibrated model may show {chance:.3f} by chance"
    if question.threshold != limit:
        detail = f"the threshold is not {limit:g}: {detail}"
    return [question.compared(evidence.figures.get("ece", MISSING), evidence, detail=detail)]


def baseline(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """A network must beat the baseline by the margin, or be right on every track."""
    margin = settings.min_margin_over_baseline
    if margin is None:
        return []
    peer = evidence.baseline.get("accuracy", MISSING)
    question = Question(
        gate="baseline",
        title="Accuracy above the baseline, a logistic regression",
        threshold=min(1.0, peer.value + margin) if peer.exists else None,
        direction=AT_LEAST,
    )
    if not peer.exists:
        return [question.missing(evidence, "baseline")]
    return [
        question.compared(
            evidence.figures.get("accuracy", MISSING),
            evidence,
            reference=peer.value,
            detail=f"the baseline has {peer.value:.3f}, and the margin is {margin:g}",
        )
    ]
