"""The rows of the gate's table, and the rules that several gates share."""

import dataclasses
import math

from components.gate.evidence import Evidence
from components.gate.settings import GateSettings
from components.gate.statistics import Figure

AT_LEAST, AT_MOST = "at least", "at most"
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class GateRow:
    """One gate's verdict.

    Attributes:
      gate: Its name.
      title: What it asks, for people.
      figure: What was measured; None if it does not exist.
      threshold: What it is held against.
      direction: `at least` or `at most`: how the figure should stand to the threshold.
      passed: Whether the candidate passes.
      interval: The figure's 95 % interval.
      reference: The figure of what the candidate is compared with.
      judged: False if there was too little to judge, or nothing to compare with; it passes then.
      detail: One sentence.
      waived: Whether it passes only because the run waived it; it was not judged then.
    """

    gate: str
    title: str
    figure: float | None
    threshold: float | None
    direction: str
    passed: bool
    interval: tuple[float, float] | None = None
    reference: float | None = None
    judged: bool = True
    detail: str = ""
    waived: bool = False


def at_least(
    gate: str,
    title: str,
    figure: Figure,
    threshold: float,
    evidence: Evidence,
    *,
    reference: float | None = None,
    detail: str = "",
) -> GateRow:
    """A row whose figure must not be under its threshold."""
    if not figure.exists:
        return missing(gate, title, threshold, AT_LEAST, evidence, "answers")
    return GateRow(
        *(gate, title, figure.value, threshold, AT_LEAST),
        passed=figure.value >= threshold - ROUNDING,
        interval=figure.interval,
        reference=reference,
        detail=detail,
    )


def at_most(
    gate: str,
    title: str,
    figure: Figure,
    threshold: float,
    evidence: Evidence,
    *,
    detail: str = "",
    problem: str = "answers",
) -> GateRow:
    """A row whose figure must not be over its threshold."""
    if not figure.exists:
        return missing(gate, title, threshold, AT_MOST, evidence, problem)
    return GateRow(
        *(gate, title, figure.value, threshold, AT_MOST),
        passed=figure.value <= threshold + ROUNDING,
        interval=figure.interval,
        detail=detail,
    )


def missing(
    gate: str, title: str, threshold: float | None, direction: str, evidence: Evidence, part: str
) -> GateRow:
    """A row that fails because its figure does not exist; `part` names what is missing."""
    reason = evidence.problems.get(part, "the figure is missing or no number")
    return GateRow(gate, title, None, threshold, direction, False, detail=f"not computed: {reason}")


def not_judged(
    gate: str,
    title: str,
    threshold: float | None,
    direction: str,
    detail: str,
    *,
    waived: bool = False,
) -> GateRow:
    """A row that passes because there is too little to judge, nothing to compare, or a waiver."""
    return GateRow(
        *(gate, title, None, threshold, direction, True),
        judged=False,
        detail=detail,
        waived=waived,
    )


def not_worse(
    loss: float,
    interval: tuple[float, float] | None,
    margin: float,
    chance: float,
    settings: GateSettings,
) -> tuple[bool, str]:
    """Whether a paired loss is acceptable, and what to add to the row's sentence."""
    if not math.isfinite(loss) or not math.isfinite(chance):
        return False, "; it was not computed"
    if settings.prove_not_worse:
        proven = interval is not None and interval[1] <= margin + ROUNDING
        return (
            proven,
            "" if proven else "; that it is not worse by more than the margin is unproven",
        )
    if loss <= margin + ROUNDING:
        return True, ""
    if chance > settings.max_chance:
        return True, f"; beyond the margin, but equals come out so by chance (p = {chance:.2g})"
    return False, ""
