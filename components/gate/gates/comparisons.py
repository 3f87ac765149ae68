"""Gates on comparisons over the same tracks: with production, and with deformed sound."""

import dataclasses
import math

from components.audio.deformations import TITLES
from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import AT_LEAST, AT_MOST, GateRow, missing, not_judged, not_worse
from components.gate.settings import DEFORMATIONS, Deformation, GateSettings
from components.gate.statistics import MISSING


def production(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """The candidate must not be worse than production by more than the margins."""
    asked = [
        ("production_accuracy", "Accuracy against production", settings.max_accuracy_loss),
        ("production_log_loss", "Log loss against production", settings.max_log_loss_increase),
    ]
    rows = []
    for gate, title, margin in asked:
        if margin is None:
            continue
        is_accuracy = gate == "production_accuracy"
        direction = AT_LEAST if is_accuracy else AT_MOST
        threshold = -margin if is_accuracy else margin
        against = evidence.against
        if against is None:
            rows.append(missing(gate, title, threshold, direction, evidence, "production"))
        elif against.none_yet or against.same_model:
            rows.append(not_judged(gate, title, threshold, direction, against.note))
        elif against.problem and against.waived:
            detail = f"waived by --replace-incompatible: {against.problem}"
            rows.append(not_judged(gate, title, threshold, direction, detail, waived=True))
        elif against.comparison is None:
            detail = against.problem or "production was not asked"
            rows.append(
                GateRow(gate, title, None, threshold, direction, passed=False, detail=detail)
            )
        else:
            rows.append(
                _paired_accuracy(against.comparison, gate, title, margin, settings)
                if is_accuracy
                else _paired_log_loss(against.comparison, gate, title, margin, settings)
            )
    return rows


def _paired_accuracy(
    comparison: paired.Comparison, gate: str, title: str, margin: float, settings: GateSettings
) -> GateRow:
    difference = comparison.accuracy_difference
    passed, why = not_worse(
        -difference.value,
        _flipped(difference.interval),
        margin,
        comparison.accuracy_chance,
        settings,
    )
    return GateRow(
        *(gate, title, _or_none(difference.value), -margin, AT_LEAST, passed),
        interval=difference.interval,
        reference=_or_none(comparison.reference_accuracy),
        detail=f"of {comparison.tracks} tracks the candidate alone has "
        f"{comparison.only_candidate} right, production alone {comparison.only_reference} "
        f"(McNemar, one-sided: p = {comparison.accuracy_chance:.2g}){why}",
    )


def _paired_log_loss(
    comparison: paired.Comparison, gate: str, title: str, margin: float, settings: GateSettings
) -> GateRow:
    difference = comparison.log_loss_difference
    passed, why = not_worse(
        difference.value, difference.interval, margin, comparison.log_loss_chance, settings
    )
    return GateRow(
        *(gate, title, _or_none(difference.value), margin, AT_MOST, passed),
        interval=difference.interval,
        reference=_or_none(comparison.reference_log_loss),
        detail=f"paired over {comparison.tracks} tracks; the candidate's is not the higher one in "
        f"{comparison.log_loss_chance:.0%} of the bootstrap's draws{why}",
    )


def robustness(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No deformation may cost more accuracy, or change more answers, than its limits."""
    rows = []
    for name in DEFORMATIONS:
        title = TITLES[name]
        limits: Deformation = getattr(settings.robustness, name)
        measured = evidence.robustness.get(name)
        if limits.max_drop is not None:
            rows.append(_drop(name, title, measured, limits.max_drop, evidence, settings))
        if limits.max_changed is not None:
            rows.append(_changed(name, title, measured, limits.max_changed, evidence, settings))
    return rows


def _drop(
    name: str,
    title: str,
    measured: paired.Robustness | None,
    limit: float,
    evidence: Evidence,
    settings: GateSettings,
) -> GateRow:
    gate, title = f"drop_{name}", f"Drop in accuracy: {title}"
    if measured is None or not measured.drop.exists:
        return missing(gate, title, limit, AT_MOST, evidence, name)
    passed, why = not_worse(
        measured.drop.value,
        measured.drop.interval,
        limit,
        measured.drop_chance,
        dataclasses.replace(settings, prove_not_worse=False),
    )
    return GateRow(
        *(gate, title, measured.drop.value, limit, AT_MOST, passed),
        interval=measured.drop.interval,
        reference=evidence.figures.get("accuracy", MISSING).value,
        detail=f"accuracy {measured.accuracy.value:.3f} on the {measured.tracks} tracks{why}",
    )


def _changed(
    name: str,
    title: str,
    measured: paired.Robustness | None,
    limit: float,
    evidence: Evidence,
    settings: GateSettings,
) -> GateRow:
    gate, title = f"changed_{name}", f"Changed answers: {title}"
    if measured is None or not measured.changed.exists:
        return missing(gate, title, limit, AT_MOST, evidence, name)
    chance = paired.chance_of_share(measured.changed_tracks, measured.tracks, limit)
    passed, why = not_worse(
        measured.changed.value,
        measured.changed.interval,
        limit,
        chance,
        dataclasses.replace(settings, prove_not_worse=False),
    )
    return GateRow(
        *(gate, title, measured.changed.value, limit, AT_MOST, passed),
        interval=measured.changed.interval,
        detail=f"{measured.changed_tracks} of {measured.tracks} tracks have another genre{why}",
    )


def _flipped(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return (-interval[1], -interval[0]) if interval else None


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
