"""Judges a candidate: figures in, one row a gate out.

It fails closed: a figure that is missing or no finite number fails its gate, and a gate without any
threshold refuses. What is not judged (a slice with few tracks, production where there is none yet)
says so in its row.
"""

from collections.abc import Sequence

from components.gate.evidence import Evidence
from components.gate.gates import comparisons, figures, serving
from components.gate.gates.rows import GateRow, Question
from components.gate.settings import GateSettings, flat


def judge(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """Judges a candidate by every gate that is switched on.

    Returns:
      A row for each gate; the candidate may be released if all of them passed (`is_blessed`).
    """
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
        detail = "no threshold has anything to judge: enable at least one"
        thresholds.append(Question("gate", 1).row(0, passed=False, detail=detail))
    return [
        figures.answers(evidence),
        figures.evaluation(evidence),
        *thresholds,
        serving.checks(evidence),
        *serving.tf_serving(evidence),
    ]


def is_blessed(rows: Sequence[GateRow]) -> bool:
    """Whether a candidate may be released: there are rows, and all of them passed.

    Examples:
      >>> from components.gate.gates.rows import Question
      >>> passed = Question("accuracy", 0.5).row(0.75, passed=True)
      >>> is_blessed([passed]), is_blessed([])
      (True, False)
    """
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
