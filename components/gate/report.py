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
from components.common.metrics import Scores
from components.gate import judge, settings, statistics
from components.gate.candidate import Candidate
from components.gate.comparison import Reference
from components.gate.evidence import Against, Evidence
from components.gate.gates.rows import GateRow
from components.gate.settings import GateSettings
from components.gate.statistics import Figure


@dataclasses.dataclass(frozen=True)
class Judged:
    """A candidate with its figures and its verdict; slices need `least_tracks` to be judged."""

    candidate: Candidate
    evidence: Evidence
    rows: Sequence[GateRow]
    least_tracks: int

    @property
    def blessed(self) -> bool:
        """Whether it may be released."""
        return judge.is_blessed(self.rows)


def judgement(
    judged: Sequence[Judged],
    *,
    gate: GateSettings,
    run_id: str,
    release: Mapping[str, Any],
    genres: tuple[str, ...],
    tracks: Mapping[str, int],
    baseline: TrackAnswers | None,
    baseline_validation: TrackAnswers | None,
    base: Reference,
    leakage: Any,
) -> dict[str, Any]:
    """The content of `report.json`; a figure that does not exist is None.

    Args:
      judged: Every model of the run.
      gate: The thresholds.
      run_id: Of the run.
      release: Facts about data and seeds.
      genres: Names in label order.
      tracks: Tracks of each split.
      baseline: The baseline's answers for the test split.
      baseline_validation: Its answers for the validation split.
      base: The model in production.
      leakage: What ingest says of near-duplicates across splits.
    """
    baseline_blocks = _answer_blocks(baseline, genres) if baseline is not None else {}
    content = {
        "run_id": run_id,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "settings": settings.as_dict(gate),
        "release": dict(release),
        "genres": list(genres),
        "tracks": dict(tracks),
        "models": {each.candidate.name: _model(each, genres) for each in judged},
        "baseline": {**baseline_blocks, "validation": _validation(baseline_validation)},
        "production": _production(base, [each.evidence.against for each in judged], genres),
        "waivers": judge.waivers(gate, [each.evidence for each in judged]),
        "loosened": settings.loosened(gate),
        "leakage": leakage,
    }
    return _plain(content)


def _model(judged: Judged, genres: tuple[str, ...]) -> dict[str, Any]:
    candidate, evidence = judged.candidate, judged.evidence
    answers = candidate.answers if evidence.figures else None
    return {
        "blessed": judged.blessed,
        "checksum": candidate.checksum,
        "gates": [dataclasses.asdict(row) for row in judged.rows],
        "figures": {name: _figure(figure) for name, figure in evidence.figures.items()},
        "validation": _scores(candidate.validation, candidate.validation_tracks),
        "by_genre": [dataclasses.asdict(row) for row in evidence.by_genre],
        "slices": _slices(evidence, judged),
        "confusion": _confusion(answers),
        "calibration": _calibration(candidate, answers),
        "robustness": [
            {
                "deformation": name,
                "title": TITLES[name],
                "accuracy": measured.accuracy.value,
                "interval": measured.accuracy.interval,
                "drop": measured.drop.value,
                "changed": measured.changed.value,
            }
            for name, measured in evidence.robustness.items()
        ],
        "latency": _latency(evidence.serving_check),
        "against_production": _against(evidence.against),
        "problems": dict(evidence.problems),
    }


def _answer_blocks(answers: TrackAnswers, genres: tuple[str, ...]) -> dict[str, Any]:
    figures = statistics.overall(answers.probabilities, answers.labels)
    return {
        "figures": {name: _figure(figure) for name, figure in figures.items()},
        "by_genre": [
            dataclasses.asdict(row)
            for row in statistics.by_genre(answers.probabilities, answers.labels, genres)
        ]
        if answers.answered.all()
        else [],
        "confusion": _confusion(answers),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "interval": figure.interval}


def _confusion(answers: TrackAnswers | None) -> list[list[int]]:
    if answers is None or not answers.answered.all():
        return []
    counts: list[list[int]] = metrics.confusion_matrix(
        answers.probabilities, answers.labels
    ).tolist()
    return counts


def _scores(scores: Scores | None, tracks: int) -> dict[str, Any]:
    if scores is None:
        return {"accuracy": None, "loss": None, "tracks": tracks}
    return {"accuracy": scores.accuracy, "loss": scores.loss, "tracks": tracks}


def _validation(answers: TrackAnswers | None) -> dict[str, Any]:
    if answers is None or not len(answers.track_ids):
        return _scores(None, 0)
    figures = statistics.overall(answers.probabilities, answers.labels)
    return {
        "accuracy": figures["accuracy"].value,
        "loss": figures["log_loss"].value,
        "tracks": originals(answers.track_ids),
    }


def _slices(evidence: Evidence, judged: Judged) -> list[dict[str, Any]]:
    fewest = judged.least_tracks
    return [
        {
            "slice": part.slice,
            "value": part.value,
            "tracks": part.tracks,
            "accuracy": part.accuracy.value,
            "interval": part.accuracy.interval,
            "judged": part.tracks >= fewest,
        }
        for part in evidence.slices or ()
    ]


def _calibration(candidate: Candidate, answers: TrackAnswers | None) -> dict[str, Any]:
    """Reliability on the test split, as served and as it was before temperature scaling."""
    fitted = candidate.calibration
    if answers is None or not answers.answered.all():
        return {"temperature": fitted.temperature if fitted else None, "before": {}, "after": {}}
    after = _reliability(answers.probabilities, answers.labels)
    if fitted is None:
        return {"temperature": None, "before": {}, "after": after}
    before = temperature.unscaled(answers.probabilities, fitted.temperature)
    return {
        "temperature": fitted.temperature,
        "note": fitted.note,
        "before": _reliability(before, answers.labels),
        "after": after,
    }


def _reliability(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    figures = calibration.figures(probabilities, labels)
    bins = metrics.reliability(probabilities, labels)
    return {**dataclasses.asdict(figures), "bins": [dataclasses.asdict(each) for each in bins]}


def _latency(check: Mapping[str, Any] | None) -> dict[str, Any]:
    check = check or {}
    served, bare = check.get("latency_ms") or {}, check.get("bare_ms") or {}
    return {
        "p50_ms": served.get("p50"),
        "p95_ms": served.get("p95"),
        "bare_p50_ms": bare.get("p50"),
        "bare_p95_ms": bare.get("p95"),
        "ratio_p95": check.get("ratio_p95"),
        "memory_bytes": check.get("memory_bytes"),
        "requests": check.get("requests"),
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
        "track_changes": [dict(change) for change in against.track_changes],
    }


def _with_ends(figure: Figure) -> list[float | None]:
    low, high = figure.interval or (None, None)
    return [figure.value, low, high]


def _production(
    base: Reference, comparisons: Sequence[Against | None], genres: tuple[str, ...]
) -> dict[str, Any]:
    """What is known of production, with its own figures on the tracks that it was asked about."""
    version = base.production
    notes = [
        against.note
        for against in comparisons
        if against and not against.same_model and against.note
    ]
    note = notes[0] if notes else "nothing is in production yet"
    if base.same_as:
        note = f"version {version.version if version else ''} is {base.same_as} of this run"
    return {
        "version": version.version if version else None,
        "model": version.model if version else "",
        "checksum": version.checksum if version else "",
        "compared": any(
            against is not None and against.comparison is not None for against in comparisons
        ),
        "note": base.problem or note,
        "problem": base.problem,
        "tracks": len(base.answers.track_ids) if base.answers else 0,
        "left_out": max((against.left_out for against in comparisons if against), default=0),
        **(_answer_blocks(base.answers, genres) if base.answers and base.answers.track_ids else {}),
    }


def _plain(value: Any) -> Any:
    """The same with None for what is no finite number, which JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
