"""Gates on comparisons over the same tracks: with production, and with deformed sound."""

import dataclasses

from components.audio.deformations import TITLES
from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import AT_LEAST, AT_MOST, GateRow, Question, not_worse
from components.gate.settings import DEFORMATIONS, Deformation, GateSettings
from components.gate.statistics import MISSING


def production(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """The candidate must not be worse than production by more than the margins."""
    comparison = evidence.against.comparison if evidence.against else None
    rows = []
    if settings.max_accuracy_loss is not None:
        question = Question(
            gate="production_accuracy",
            title="Accuracy against production",
            threshold=-settings.max_accuracy_loss,
            direction=AT_LEAST,
        )
        rows.append(
            _not_compared(question, evidence)
            if comparison is None
            else _accuracy(question, comparison, settings.max_accuracy_loss, settings)
        )
    if settings.max_log_loss_increase is not None:
        question = Question(
            gate="production_log_loss",
            title="Log loss against production",
            threshold=settings.max_log_loss_increase,
            direction=AT_MOST,
        )
        rows.append(
            _not_compared(question, evidence)
            if comparison is None
            else _log_loss(question, comparison, settings.max_log_loss_increase, settings)
        )
    return rows


def _not_compared(question: Question, evidence: Evidence) -> GateRow:
    against = evidence.against
    if against is None:
        return question.missing(evidence, "production")
    if against.none_yet or against.same_model:
        return question.not_judged(against.note)
    if against.problem and against.waived:
        detail = f"waived by --replace-incompatible: {against.problem}"
        return question.not_judged(detail, waived=True)
    return question.row(None, passed=False, detail=against.problem or "production was not asked")


def _accuracy(
    question: Question, comparison: paired.Comparison, margin: float, settings: GateSettings
) -> GateRow:
    difference = comparison.accuracy_difference
    low, high = difference.interval or (None, None)
    passed, why = not_worse(
        -difference.value,
        None if low is None or high is None else (-high, -low),
        margin,
        comparison.accuracy_chance,
        settings,
    )
    return question.row(
        difference.value,
        passed=passed,
        interval=difference.interval,
        reference=comparison.reference_accuracy,
        detail=f"of {comparison.tracks} tracks the candidate alone has "
        f"{comparison.only_candidate} right, production alone {comparison.only_reference} "
        f"(McNemar, one-sided: p = {comparison.accuracy_chance:.2g}){why}",
    )


def _log_loss(
    question: Question, comparison: paired.Comparison, margin: float, settings: GateSettings
) -> GateRow:
    difference = comparison.log_loss_difference
    passed, why = not_worse(
        difference.value,
        difference.interval,
        margin,
        comparison.log_loss_chance,
        settings,
    )
    return question.row(
        difference.value,
        passed=passed,
        interval=difference.interval,
        reference=comparison.reference_log_loss,
        detail=f"paired over {comparison.tracks} tracks; the candidate's is not the higher one in "
        f"{comparison.log_loss_chance:.0%} of the bootstrap's draws{why}",
    )


def robustness(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No deformation may cost more accuracy, or change more answers, than its limits."""
    # Proof is asked for against production alone.
    by_chance = dataclasses.replace(settings, prove_not_worse=False)
    rows = []
    for name in DEFORMATIONS:
        limits: Deformation = getattr(settings.robustness, name)
        if limits.max_drop is not None:
            rows.append(_drop(name, limits.max_drop, evidence, by_chance))
        if limits.max_changed is not None:
            rows.append(_changed(name, limits.max_changed, evidence, by_chance))
    return rows


def _drop(name: str, limit: float, evidence: Evidence, settings: GateSettings) -> GateRow:
    question = Question(
        gate=f"drop_{name}",
        title=f"Drop in accuracy: {TITLES[name]}",
        threshold=limit,
        direction=AT_MOST,
    )
    measured = evidence.robustness.get(name)
    if measured is None or not measured.drop.exists:
        return question.missing(evidence, name)
    drop = measured.drop
    passed, why = not_worse(drop.value, drop.interval, limit, measured.drop_chance, settings)
    return question.row(
        drop.value,
        passed=passed,
        interval=drop.interval,
        reference=evidence.figures.get("accuracy", MISSING).value,
        detail=f"accuracy {measured.accuracy.value:.3f} on the {measured.tracks} tracks{why}",
    )


def _changed(name: str, limit: float, evidence: Evidence, settings: GateSettings) -> GateRow:
    question = Question(
        gate=f"changed_{name}",
        title=f"Changed answers: {TITLES[name]}",
        threshold=limit,
        direction=AT_MOST,
    )
    measured = evidence.robustness.get(name)
    if measured is None or not measured.changed.exists:
        return question.missing(evidence, name)
    share = measured.changed
    chance = paired.chance_of_share(measured.changed_tracks, measured.tracks, limit)
    passed, why = not_worse(share.value, share.interval, limit, chance, settings)
    return question.row(
        share.value,
        passed=passed,
        interval=share.interval,
        detail=f"{measured.changed_tracks} of {measured.tracks} tracks have another genre{why}",
    )
