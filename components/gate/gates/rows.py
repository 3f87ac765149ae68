"""The rows of the gate's table, and the rules that several gates share."""

import dataclasses
import math

from components.gate.evidence import Evidence
from components.gate.settings import GateSettings
from components.gate.statistics import Figure

AT_LEAST, AT_MOST = "at least", "at most"
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What a gate asks: attributes as of the `GateRow` that answers it."""

    gate: str
    title: str
    threshold: float | None
    direction: str

    def row(
        self,
        figure: float | None,
        *,
        passed: bool,
        interval: tuple[float, float] | None = None,
        reference: float | None = None,
        detail: str = "",
    ) -> GateRow:
        """A row with a verdict; a figure or reference that is no finite number is None."""
        return GateRow(
            **dataclasses.asdict(self),
            figure=_or_none(figure),
            passed=passed,
            interval=interval,
            reference=_or_none(reference),
            detail=detail,
        )

    def compared(
        self,
        figure: Figure,
        evidence: Evidence,
        *,
        part: str = "answers",
        reference: float | None = None,
        detail: str = "",
    ) -> GateRow:
        """A row whose figure is held against the threshold; `part` names what it is made of."""
        if not figure.exists or self.threshold is None:
            return self.missing(evidence, part)
        return self.row(
            figure.value,
            passed=figure.value >= self.threshold - ROUNDING
            if self.direction == AT_LEAST
            else figure.value <= self.threshold + ROUNDING,
            interval=figure.interval,
            reference=reference,
            detail=detail,
        )

    def missing(self, evidence: Evidence, part: str) -> GateRow:
        """A row that fails because its figure does not exist; `part` names what is missing."""
        reason = evidence.problems.get(part, "the figure is missing or no number")
        return self.row(None, passed=False, detail=f"not computed: {reason}")

    def not_judged(self, detail: str, *, waived: bool = False) -> GateRow:
        """A row that passes: there is too little to judge, nothing to compare with, or a waiver."""
        row = self.row(None, passed=True, detail=detail)
        return dataclasses.replace(row, judged=False, waived=waived)


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
        if interval is not None and interval[1] <= margin + ROUNDING:
            return True, ""
        return False, "; that it is not worse by more than the margin is unproven"
    if loss <= margin + ROUNDING:
        return True, ""
    if chance > settings.max_chance:
        return True, f"; beyond the margin, but equals come out so by chance (p = {chance:.2g})"
    return False, ""


def _or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
