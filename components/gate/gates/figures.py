"""Gates on figures of the test split: minimums, genres, slices, calibration and the baseline."""

import math

from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import ROUNDING, GateRow, Question
from components.gate.settings import GateSettings
from components.gate.statistics import MISSING

# The Evaluator and the gate read the same model in two ways; one track of 200 may be a tie.
_EVALUATION_TOLERANCE = 0.005


def answers(evidence: Evidence) -> GateRow:
    """Every test track must be answered."""
    expected, answered = evidence.expected_tracks, evidence.answered_tracks
    problem = evidence.problems.get("answers", "")
    if not expected and not problem:
        problem = "it is not known how many test tracks there are"
    return Question("answers", expected).row(
        answered,
        passed=answered == expected and not problem,
        detail=problem or f"{answered} of {expected} test tracks have an answer",
    )


def evaluation(evidence: Evidence) -> GateRow:
    """The Evaluator's accuracy must be that of the answers that are judged."""
    accuracy = evidence.figures.get("accuracy", MISSING)
    evaluated, tracks = evidence.evaluated_accuracy, evidence.evaluated_tracks
    if evaluated is None or not math.isfinite(evaluated) or not accuracy.exists:
        return Question("evaluation", 0.0).missing(evidence, "evaluation")
    difference = abs(evaluated - accuracy.value)
    return Question("evaluation", _EVALUATION_TOLERANCE).row(
        difference,
        passed=difference <= _EVALUATION_TOLERANCE and tracks == evidence.answered_tracks,
        reference=evaluated,
        detail=f"the Evaluator has {evaluated:.3f} on {tracks} tracks",
    )


def overall(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Accuracy, macro-F1 and top-3 accuracy have absolute minimums."""
    rows = []
    for gate, threshold in (
        ("accuracy", settings.min_accuracy),
        ("macro_f1", settings.min_macro_f1),
        ("top_3_accuracy", settings.min_top_3_accuracy),
    ):
        if threshold is None:
            continue
        question = Question(gate, threshold)
        figure = evidence.figures.get(gate, MISSING)
        genres = len(evidence.by_genre)
        if gate == "top_3_accuracy" and figure.exists and 0 < genres <= 3:
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
    question = Question("genre_recall", threshold)
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
    question = Question("slices", limit)
    accuracy = evidence.figures.get("accuracy", MISSING)
    parts = evidence.slices
    if (
        parts is None
        or not accuracy.exists
        or not all(part.accuracy.exists for part in parts if part.tracks)
    ):
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
        chance = paired.chance(right, part.tracks, accuracy.value, "less")
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
    limit, chance = settings.max_ece, evidence.calibration_by_chance
    if limit is None:
        return []
    if chance is None or not math.isfinite(chance):
        return [Question("calibration", limit).missing(evidence, "answers")]
    question = Question("calibration", max(limit, chance))
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
    reference = evidence.baseline.get("accuracy", MISSING)
    if not reference.exists:
        return [Question("baseline", None).missing(evidence, "baseline")]
    return [
        Question("baseline", min(1.0, reference.value + margin)).compared(
            evidence.figures.get("accuracy", MISSING),
            evidence,
            reference=reference.value,
            detail=f"the baseline has {reference.value:.3f}, and the margin is {margin:g}",
        )
    ]
