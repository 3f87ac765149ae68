"""The rows of the gate's table, and the rules that several gates share."""

import dataclasses
import math
from typing import Any

from components.audio.deformations import TITLES
from components.gate.evidence import Evidence
from components.gate.statistics import Figure

AT_LEAST, AT_MOST = "at least", "at most"
ROUNDING = 1e-9

# What each gate asks, for people, and how its figure should stand to its threshold.
GATES = {
    "answers": ("Every test track is answered", AT_LEAST),
    "evaluation": ("The Evaluator's accuracy is that of the judged answers", AT_MOST),
    "accuracy": ("Accuracy", AT_LEAST),
    "macro_f1": ("Macro-F1", AT_LEAST),
    "top_3_accuracy": ("Top-3 accuracy", AT_LEAST),
    "genre_recall": ("Lowest recall of a genre", AT_LEAST),
    "slices": ("Largest deficit in accuracy of a slice", AT_MOST),
    "calibration": ("Calibration error", AT_MOST),
    "baseline": ("Accuracy, against that of a logistic regression", AT_LEAST),
    "production_accuracy": ("Accuracy against production", AT_LEAST),
    "production_log_loss": ("Log loss against production", AT_MOST),
    **{f"drop_{name}": (f"Drop in accuracy: {title}", AT_MOST) for name, title in TITLES.items()},
    **{f"changed_{name}": (f"Changed answers: {title}", AT_MOST) for name, title in TITLES.items()},
    **{f"loss_{name}": (f"Rise in log loss: {title}", AT_MOST) for name, title in TITLES.items()},
    "latency_ratio": ("Served 95th percentile, as a multiple of the bare call", AT_MOST),
    "latency": ("Served 95th percentile, in seconds", AT_MOST),
    "memory": ("The server's memory, in MiB", AT_MOST),
    "gate": ("The gate judges something", AT_LEAST),
    "serving": ("The serving check's failed checks", AT_MOST),
    "tf_serving": ("TF Serving loads it and answers", AT_LEAST),
}


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


@dataclasses.dataclass(frozen=True)
class Question:
    """A gate (see `GATES`) and the threshold that its figure is held against."""

    gate: str
    threshold: float | None

    def row(
        self, figure: float | None, *, reference: float | None = None, **verdict: Any
    ) -> GateRow:
        """A row with a verdict, of `GateRow`'s other attributes.

        A figure or reference that is no finite number is None.

        Examples:
          >>> row = Question("accuracy", 0.5).row(0.75, passed=True)
          >>> row.title, row.figure, row.direction, row.threshold
          ('Accuracy', 0.75, 'at least', 0.5)
        """
        title, direction = GATES[self.gate]
        return GateRow(
            gate=self.gate,
            title=title,
            figure=_or_none(figure),
            threshold=self.threshold,
            direction=direction,
            reference=_or_none(reference),
            **verdict,
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
        _, direction = GATES[self.gate]
        return self.row(
            figure.value,
            passed=figure.value >= self.threshold - ROUNDING
            if direction == AT_LEAST
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
        return self.row(None, passed=True, judged=False, detail=detail, waived=waived)


def not_worse(
    loss: Figure, margin: float, chance: float, *, max_chance: float, prove: bool = False
) -> tuple[bool, str]:
    """Whether a loss on the same tracks is acceptable, and what to add to the row's sentence.

    Args:
      loss: How much worse the candidate is.
      margin: How much worse it may be.
      chance: Probability that equals come out so far apart.
      max_chance: Up to which the loss counts as real.
      prove: Whether the whole interval must lie within the margin.
    """
    if not loss.exists or not math.isfinite(chance):
        return False, "; it was not computed"
    if prove:
        if loss.interval is not None and loss.interval[1] <= margin + ROUNDING:
            return True, ""
        return False, "; that it is not worse by more than the margin is unproven"
    if loss.value <= margin + ROUNDING:
        return True, ""
    if chance > max_chance:
        return True, f"; beyond the margin, but not statistically significant (p = {chance:.2g})"
    return False, ""


def _or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
