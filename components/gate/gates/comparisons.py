"""Gates on comparisons over the same tracks: with production, and with deformed sound."""

from components.gate import paired
from components.gate.evidence import Evidence
from components.gate.gates.rows import GateRow, Question, not_worse
from components.gate.paired import Comparison
from components.gate.settings import DEFORMATIONS, Deformation, GateSettings
from components.gate.statistics import MISSING


def production(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """The candidate must not be worse than production by more than the margins."""
    comparison = evidence.against.comparison if evidence.against else None
    rows = []
    if (loss := settings.max_accuracy_loss) is not None:
        question = Question("production_accuracy", -loss)
        rows.append(
            _not_compared(question, evidence)
            if comparison is None
            else _accuracy(question, comparison, loss, settings)
        )
    if (increase := settings.max_log_loss_increase) is not None:
        question = Question("production_log_loss", increase)
        rows.append(
            _not_compared(question, evidence)
            if comparison is None
            else _log_loss(question, comparison, increase, settings)
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
    question: Question, comparison: Comparison, margin: float, settings: GateSettings
) -> GateRow:
    difference, chance = comparison.accuracy_difference, comparison.accuracy_chance
    passed, why = not_worse(
        -difference,
        margin,
        chance,
        max_chance=settings.max_chance,
        prove=settings.prove_not_worse,
    )
    return question.row(
        difference.value,
        passed=passed,
        interval=difference.interval,
        reference=comparison.reference_accuracy,
        detail=f"of {comparison.tracks} tracks the candidate alone has "
        f"{comparison.only_candidate} right, production alone {comparison.only_reference} "
        f"(McNemar, one-sided: p = {chance:.2g}){why}",
    )


def _log_loss(
    question: Question, comparison: Comparison, margin: float, settings: GateSettings
) -> GateRow:
    difference, chance = comparison.log_loss_difference, comparison.log_loss_chance
    passed, why = not_worse(
        difference,
        margin,
        chance,
        max_chance=settings.max_chance,
        prove=settings.prove_not_worse,
    )
    return question.row(
        difference.value,
        passed=passed,
        interval=difference.interval,
        reference=comparison.reference_log_loss,
        detail=f"paired over {comparison.tracks} tracks; the candidate's is not the higher one in "
        f"{chance:.0%} of the bootstrap's draws{why}",
    )


def robustness(evidence: Evidence, settings: GateSettings) -> list[GateRow]:
    """No deformation may cost more accuracy, change more answers or raise the loss over its limits.

    Proof (`prove_not_worse`) is asked for against production alone.
    """
    rows = []
    for name in DEFORMATIONS:
        limits: Deformation = getattr(settings.robustness, name)
        if limits.max_drop is not None:
            rows.append(_drop(name, limits.max_drop, evidence, settings.max_chance))
        if limits.max_changed is not None:
            rows.append(_changed(name, limits.max_changed, evidence, settings.max_chance))
        if limits.max_log_loss_increase is not None:
            rows.append(_rise(name, limits.max_log_loss_increase, evidence, settings.max_chance))
    return rows


def _drop(name: str, limit: float, evidence: Evidence, max_chance: float) -> GateRow:
    question = Question(f"drop_{name}", limit)
    measured = evidence.robustness.get(name)
    if measured is None:
        return question.missing(evidence, name)
    drop = measured.drop
    passed, why = not_worse(drop, limit, measured.drop_chance, max_chance=max_chance)
    return question.row(
        drop.value,
        passed=passed,
        interval=drop.interval,
        reference=evidence.figures.get("accuracy", MISSING).value,
        detail=f"accuracy {measured.accuracy.value:.3f} on the {measured.tracks} tracks{why}",
    )


def _changed(name: str, limit: float, evidence: Evidence, max_chance: float) -> GateRow:
    question = Question(f"changed_{name}", limit)
    measured = evidence.robustness.get(name)
    if measured is None:
        return question.missing(evidence, name)
    share = measured.changed
    chance = paired.chance(measured.changed_tracks, measured.tracks, limit, "greater")
    passed, why = not_worse(share, limit, chance, max_chance=max_chance)
    return question.row(
        share.value,
        passed=passed,
        interval=share.interval,
        detail=f"{measured.changed_tracks} of {measured.tracks} tracks have another genre{why}",
    )


def _rise(name: str, limit: float, evidence: Evidence, max_chance: float) -> GateRow:
    question = Question(f"loss_{name}", limit)
    measured = evidence.robustness.get(name)
    if measured is None:
        return question.missing(evidence, name)
    rise = measured.log_loss_increase
    passed, why = not_worse(rise, limit, measured.log_loss_chance, max_chance=max_chance)
    return question.row(
        rise.value,
        passed=passed,
        interval=rise.interval,
        reference=evidence.figures.get("log_loss", MISSING).value,
        detail=f"log loss {measured.log_loss:.3f} on the {measured.tracks} tracks{why}",
    )
