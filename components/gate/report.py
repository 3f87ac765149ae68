"""The judgement as plain values: `report.json`, for machines and for the release report."""

import dataclasses
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.audio.deformations import TITLES
from components.common import calibration, metrics, temperature
from components.common.answers import TrackAnswers
from components.common.copies import originals
from components.gate import judge, settings, statistics
from components.gate.evidence import Against, Evidence
from components.gate.gates.rows import GateRow
from components.gate.production import Production
from components.gate.settings import GateSettings
from components.gate.statistics import Figure


def judgement(
    judged: Sequence[tuple[Evidence, Sequence[GateRow]]],
    *,
    gate: GateSettings,
    run_id: str,
    release: Mapping[str, Any],
    genres: tuple[str, ...],
    tracks: Mapping[str, int],
    baseline: TrackAnswers | None,
    baseline_validation: TrackAnswers | None,
    production: Production | None,
    leakage: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `report.json`; a figure that does not exist is None.

    Args:
      judged: Every model of the run, with its rows.
      gate: The thresholds.
      run_id: Of the run.
      release: Facts about data and seeds.
      genres: Names in label order.
      tracks: Tracks of each split.
      baseline: The baseline's answers for the test split.
      baseline_validation: Its answers for the validation split.
      production: The model in production; None without one.
      leakage: What ingest says of near-duplicates across splits.
    """
    everything = [evidence for evidence, _ in judged]
    content = {
        "run_id": run_id,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "settings": settings.as_dict(gate),
        "release": dict(release),
        "genres": list(genres),
        "tracks": dict(tracks),
        "models": {
            evidence.name: _model(evidence, rows, gate.min_tracks) for evidence, rows in judged
        },
        "baseline": {
            **_answer_blocks(baseline, genres),
            "validation": _validation(baseline_validation),
        },
        "production": _production(production, everything, genres),
        "waivers": judge.waivers(gate, everything),
        "loosened": settings.loosened(gate),
        "leakage": leakage,
    }
    return _plain(content)


def _model(evidence: Evidence, rows: Sequence[GateRow], least_tracks: int) -> dict[str, Any]:
    return {
        "blessed": judge.is_blessed(rows),
        "checksum": evidence.checksum,
        "gates": rows,
        "figures": evidence.figures,
        "validation": _validation(evidence.validation),
        "by_genre": evidence.by_genre,
        "slices": [
            {
                "slice": part.slice,
                "value": part.value,
                "tracks": part.tracks,
                "accuracy": part.accuracy.value,
                "interval": part.accuracy.interval,
                "judged": part.tracks >= least_tracks,
            }
            for part in evidence.slices or ()
        ],
        "confusion": _confusion(evidence.answers),
        "calibration": _calibration(evidence),
        "robustness": [
            {
                "deformation": name,
                "title": TITLES[name],
                "accuracy": measured.accuracy.value,
                "interval": measured.accuracy.interval,
                "drop": measured.drop.value,
                "changed": measured.changed.value,
                "log_loss": measured.log_loss,
                "log_loss_increase": measured.log_loss_increase.value,
            }
            for name, measured in evidence.robustness.items()
        ],
        "latency": _latency(evidence.serving_check or {}),
        "against_production": _against(evidence.against),
        "problems": evidence.problems,
    }


def _answer_blocks(answers: TrackAnswers | None, genres: tuple[str, ...]) -> dict[str, Any]:
    if answers is None or not answers.track_ids:
        return {}
    probabilities, labels = answers.probabilities, answers.labels
    return {
        "figures": statistics.overall(probabilities, labels),
        "by_genre": statistics.by_genre(probabilities, labels, genres)
        if answers.answered.all()
        else [],
        "confusion": _confusion(answers),
    }


def _confusion(answers: TrackAnswers | None) -> list[list[int]]:
    if answers is None or not answers.answered.all():
        return []
    return list(metrics.confusion_matrix(answers.probabilities, answers.labels).tolist())


def _validation(answers: TrackAnswers | None) -> dict[str, Any]:
    if answers is None or not answers.track_ids:
        return {"accuracy": None, "loss": None, "tracks": 0}
    figures = statistics.overall(answers.probabilities, answers.labels)
    return {
        "accuracy": figures["accuracy"].value,
        "loss": figures["log_loss"].value,
        "tracks": originals(answers.track_ids),
    }


def _calibration(evidence: Evidence) -> dict[str, Any]:
    """Reliability on the test split, as served and as it was before temperature scaling."""
    fitted, answers = evidence.temperature, evidence.answers
    scale = fitted.temperature if fitted else None
    if answers is None or not answers.answered.all():
        return {"temperature": scale, "before": {}, "after": {}}
    after = _reliability(answers.probabilities, answers.labels)
    if fitted is None:
        return {"temperature": None, "before": {}, "after": after}
    before = temperature.unscaled(answers.probabilities, fitted.temperature)
    return {
        "temperature": scale,
        "note": fitted.note,
        "before": _reliability(before, answers.labels),
        "after": after,
    }


def _reliability(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    figures = calibration.figures(probabilities, labels)
    bins = metrics.reliability(probabilities, labels)
    return {**dataclasses.asdict(figures), "bins": bins}


def _latency(check: Mapping[str, Any]) -> dict[str, Any]:
    served, bare = check.get("latency_ms") or {}, check.get("bare_ms") or {}
    return {
        "p50_ms": served.get("p50"),
        "p95_ms": served.get("p95"),
        "bare_p50_ms": bare.get("p50"),
        "bare_p95_ms": bare.get("p95"),
        **{name: check.get(name) for name in ("ratio_p95", "memory_bytes", "requests")},
    }


def _against(against: Against | None) -> dict[str, Any] | None:
    if against is None or against.none_yet:
        return None
    compared = against.comparison
    return {
        "tracks": compared.tracks if compared else 0,
        "left_out": against.left_out,
        "only_candidate": compared.only_candidate if compared else None,
        "only_production": compared.only_reference if compared else None,
        "mcnemar_p": compared.mcnemar_p if compared else None,
        "accuracy_difference": _with_ends(compared.accuracy_difference) if compared else None,
        "log_loss_difference": _with_ends(compared.log_loss_difference) if compared else None,
        "same_model": against.same_model,
        "note": against.note,
        "track_changes": against.track_changes,
    }


def _with_ends(figure: Figure) -> list[float | None]:
    return [figure.value, *(figure.interval or (None, None))]


def _production(
    current: Production | None, evidence: Sequence[Evidence], genres: tuple[str, ...]
) -> dict[str, Any]:
    """What is known of production, with its own figures on the tracks that it was asked about."""
    comparisons = [each.against for each in evidence if each.against]
    notes = [against.note for against in comparisons if against.note and not against.same_model]
    current = current or Production()
    note = notes[0] if notes else "nothing is in production yet"
    if current.same_as:
        note = f"version {current.version} is {current.same_as} of this run"
    return {
        "version": current.version,
        "model": current.model,
        "checksum": current.checksum,
        "compared": any(against.comparison is not None for against in comparisons),
        "note": current.problem or note,
        "problem": current.problem,
        "tracks": len(current.answers.track_ids) if current.answers else 0,
        "left_out": max((against.left_out for against in comparisons), default=0),
        **_answer_blocks(current.answers, genres),
    }


def _plain(value: Any) -> Any:
    """Values that JSON knows: None for what is no finite number, and dictionaries for rows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
