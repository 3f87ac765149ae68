"""Judges a candidate: figures in, one row a gate out.

It fails closed: a figure that is missing or no finite number fails its gate, and a gate without any
threshold refuses. What is not judged (a slice with few tracks, production where there is none yet)
says so in its row.
"""

import math
from collections.abc import Sequence

from components.gate.evidence import Evidence
from components.gate.gates import comparisons, figures, serving
from components.gate.gates.rows import AT_LEAST, AT_MOST, GateRow, Question
from components.gate.settings import GateSettings, flat
from components.gate.statistics import MISSING

# The Evaluator and the gate read the same model in two ways; one track of 200 may be a tie.
_EVALUATION_TOLERANCE = 0.005


def judge(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Judges a candidate by every gate that is switched on.

    Returns:
      A row for each gate; the candidate may be released if all of them passed (`is_blessed`).
    """
    rows = [_answers(evidence), _evaluation(evidence)]
    thresholds = [
        *figures.overall(evidence, settings),
        *figures.genre_recall(evidence, settings),
        *figures.slices(evidence, settings),
        *figures.calibration(evidence, settings),
        *figures.baseline(evidence, settings),
        *comparisons.production(evidence, settings),
        *comparisons.robustness(evidence, settings),
        *serving.thresholds(evidence, settings),
    ]
    if not any(row.judged for row in thresholds):
        thresholds.append(
            GateRow(
                gate="gate",
                title="The gate judges something",
                figure=0,
                threshold=1,
                direction=AT_LEAST,
                passed=False,
                detail="no threshold is switched on that has anything to judge: an empty gate lets "
                "nothing pass",
            )
        )
    return [*rows, *thresholds, serving.checks(evidence), *serving.tf_serving(evidence)]


def is_blessed(rows: Sequence[GateRow]) -> bool:
    """Whether a candidate may be released: there are rows, and all of them passed."""
    return bool(rows) and all(row.passed for row in rows)


def waivers(settings: GateSettings, evidence: Sequence[Evidence]) -> list[dict[str, str]]:
    """What was not asked of the candidates, and why, as `gate` and `reason`."""
    off = [
        {"gate": key, "reason": "switched off in the gate's settings"}
        for key, value in flat(settings).items()
        if value is None
    ]
    problems = {
        each.against.problem
        for each in evidence
        if each.against and each.against.problem and each.against.waived
    }
    return off + [
        {"gate": "production", "reason": f"--replace-incompatible: {problem}"}
        for problem in sorted(problems)
    ]


def _answers(evidence: Evidence) -> GateRow:
    expected = evidence.expected_tracks
    answered = evidence.answered_tracks
    detail = evidence.problems.get("answers", "")
    if not expected and not detail:
        detail = "it is not known how many test tracks there are"
    return GateRow(
        gate="answers",
        title="Every test track is answered",
        figure=answered,
        threshold=expected,
        direction=AT_LEAST,
        passed=bool(expected) and answered == expected and not detail,
        detail=detail or f"{answered} of {expected} test tracks have an answer",
    )


def _evaluation(evidence: Evidence) -> GateRow:
    """Whether the Evaluator's accuracy is that of the answers that are judged."""
    accuracy = evidence.figures.get("accuracy", MISSING)
    evaluated = evidence.evaluated_accuracy
    title = "The Evaluator's accuracy is that of the judged answers"
    is_known = evaluated is not None and math.isfinite(evaluated) and accuracy.exists
    question = Question(
        gate="evaluation",
        title=title,
        threshold=_EVALUATION_TOLERANCE if is_known else 0.0,
        direction=AT_MOST,
    )
    if evaluated is None or not is_known:
        return question.missing(evidence, "evaluation")
    difference = abs(evaluated - accuracy.value)
    tracks = evidence.evaluated_tracks
    return question.row(
        difference,
        passed=difference <= _EVALUATION_TOLERANCE and tracks == evidence.answered_tracks,
        reference=evaluated,
        detail=f"the Evaluator has {evaluated:.3f} on {tracks} tracks",
    )
