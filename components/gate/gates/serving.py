"""Gates on what ServingCheck measured of the served candidate."""

import math
from typing import Any

from components.gate.evidence import Evidence
from components.gate.gates.rows import GateRow, Question
from components.gate.settings import GateSettings
from components.gate.statistics import Figure

_MIB = 1 << 20

# ServingCheck's checks that have a gate of their own here.
_OWN_GATES = ("latency", "memory")


def checks(evidence: Evidence) -> GateRow:
    """Every check of the served candidate must have passed."""
    question = Question("serving", 0)
    listed = (evidence.serving_check or {}).get("checks")
    if not listed:
        return question.missing(evidence, "serving_check")
    bad = [check for check in listed if check.get("passed") is not True]
    failed = [
        check for check in bad if not any(name in str(check.get("name", "")) for name in _OWN_GATES)
    ]
    if not bad and not evidence.infra_blessed:
        detail = "every check passed, and yet the candidate is not blessed"
        return question.row(0, passed=False, detail=detail)
    names = "; ".join(f"{check.get('name')}: {check.get('detail', '')}" for check in failed)
    detail = names or f"{len(listed)} checks of the served candidate"
    return question.row(len(failed), passed=not failed, detail=detail)


def tf_serving(evidence: Evidence) -> list[GateRow]:
    """TFX's InfraValidator must have blessed the candidate, where it ran."""
    validated = evidence.infra_validated
    if validated is None:
        return []
    detail = "loaded and answered" if validated else "TFX's InfraValidator did not bless it"
    return [Question("tf_serving", 1).row(int(validated), passed=validated, detail=detail)]


def thresholds(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """The served candidate's time and memory must be within the budget."""
    report = evidence.serving_check or {}
    p95 = (report.get("latency_ms") or {}).get("p95")
    budget = (
        ("latency_ratio", _number(report.get("ratio_p95")), settings.max_latency_ratio),
        ("latency", _number(p95) / 1000, settings.max_latency_seconds),
        ("memory", _number(report.get("memory_bytes")) / _MIB, settings.max_memory_mib),
    )
    return [
        Question(gate, limit).compared(Figure(figure), evidence, part="serving_check")
        for gate, figure, limit in budget
        if limit is not None
    ]


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
