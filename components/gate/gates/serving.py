"""Gates on what ServingCheck measured of the served candidate."""

import math
from typing import Any

from components.gate.evidence import Evidence
from components.gate.gates.rows import AT_LEAST, AT_MOST, GateRow, Question
from components.gate.settings import GateSettings
from components.gate.statistics import Figure

_MIB = 1 << 20

# ServingCheck's checks that have a gate of their own here.
_OWN_GATES = ("latency", "memory")


def checks(evidence: Evidence) -> GateRow:
    """Every check of the served candidate must have passed."""
    question = Question(
        gate="serving",
        title="The serving check's failed checks",
        threshold=0,
        direction=AT_MOST,
    )
    report = evidence.serving_check
    listed = report.get("checks") if report else None
    if not isinstance(listed, list) or not listed:
        return question.missing(evidence, "serving_check")
    failed = [
        check
        for check in listed
        if check.get("passed") is not True and not _has_own_gate(str(check.get("name", "")))
    ]
    names = "; ".join(f"{check.get('name')}: {check.get('detail', '')}" for check in failed)
    detail = names or f"{len(listed)} checks of the served candidate"
    passed = not failed
    every_check_passed = all(check.get("passed") is True for check in listed)
    if every_check_passed and not evidence.infra_blessed:
        passed, detail = False, "every check passed, and yet the candidate is not blessed"
    return question.row(len(failed), passed=passed, detail=detail)


def tf_serving(evidence: Evidence) -> list[GateRow]:
    """TFX's InfraValidator must have blessed the candidate, where it ran."""
    validated = evidence.infra_validated
    if validated is None:
        return []
    question = Question(
        gate="tf_serving",
        title="TF Serving loads it and answers",
        threshold=1,
        direction=AT_LEAST,
    )
    detail = "loaded and answered" if validated else "TFX's InfraValidator did not bless it"
    return [question.row(int(validated), passed=validated, detail=detail)]


def thresholds(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """The served candidate's time and memory must be within the budget."""
    report = evidence.serving_check or {}
    latency = report.get("latency_ms") or {}
    p95, memory = _number(latency.get("p95")), _number(report.get("memory_bytes"))
    rows = []
    for gate, title, figure, limit in (
        (
            "latency_ratio",
            "Served 95th percentile, as a multiple of the bare call",
            _number(report.get("ratio_p95")),
            settings.max_latency_ratio,
        ),
        ("latency", "Served 95th percentile, in seconds", p95 / 1000, settings.max_latency_seconds),
        ("memory", "The server's memory, in MiB", memory / _MIB, settings.max_memory_mib),
    ):
        if limit is not None:
            question = Question(gate=gate, title=title, threshold=limit, direction=AT_MOST)
            rows.append(question.compared(Figure(figure), evidence, part="serving_check"))
    return rows


def _has_own_gate(check: str) -> bool:
    return any(word in check for word in _OWN_GATES)


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
