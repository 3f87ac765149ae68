"""Reads what the nodes before the gate know of a candidate, and computes its figures."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from absl import logging
from tfx.components.util import model_utils
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.common import answers, bands, calibration, evaluator_figures
from components.common.answers import TrackAnswers
from components.common.evaluator_figures import ACCURACY
from components.gate import paired, production, statistics
from components.gate.evidence import Evidence, Slice
from components.gate.settings import DEFORMATIONS
from components.gate.statistics import Figure

SERVING_CHECK_FILE = "serving_check.json"

_Part = TypeVar("_Part")


def read(
    name: str,
    input_dict: Mapping[str, list[Artifact]],
    *,
    baseline: TrackAnswers | None,
    baseline_problem: str,
    expected_tracks: int,
    genres: tuple[str, ...],
) -> Evidence:
    """Reads a model's artifacts: `model_<name>`, `answers_<name>` and so on.

    Whatever is missing or broken is a problem of that part, which fails its gates by name. The
    comparison with production is not part of it: see `comparison.against`.

    Args:
      name: Of the model.
      input_dict: The executor's.
      baseline: The baseline's answers for the test tracks; None without them.
      baseline_problem: Why there are none.
      expected_tracks: Tracks of the test split; 0 if unknown.
      genres: Names in label order.
    """
    problems: dict[str, str] = {}

    def part(label: str, of: Callable[[], _Part]) -> _Part | None:
        return readable(of, problems, label)

    def uri(kind: str) -> str:
        return str(artifact_utils.get_single_uri(input_dict[f"{kind}_{name}"]))

    def serving_check() -> dict[str, Any]:
        report: dict[str, Any] = json.loads(
            io_utils.read_string_file(f"{uri('serving_check')}/{SERVING_CHECK_FILE}")
        )
        return report

    def infra_blessed() -> bool:
        blessing = artifact_utils.get_single_instance(input_dict[f"infra_blessing_{name}"])
        return bool(model_utils.is_infra_validated(blessing))

    def robustness(deformation: str, clean: TrackAnswers) -> paired.Robustness | None:
        return part(deformation, lambda: _robustness(uri("answers"), deformation, clean))

    model = part("model", lambda: str(path_utils.serving_model_path(uri("model")))) or ""
    evaluated = part("evaluation", lambda: evaluator_figures.figures(uri("evaluation"))) or {}
    count = evaluated.get("example_count")
    validated = input_dict.get(f"infra_validation_{name}")
    known = Evidence(
        name=name,
        model=model,
        checksum=part("model", lambda: production.checksum(model)) or "",
        validation=part(
            answers.VALIDATION, lambda: answers.read(uri("model_run"), answers.VALIDATION)
        ),
        temperature=part("calibration", lambda: calibration.read(uri("model_run"))),
        expected_tracks=expected_tracks,
        slices=part("slices", lambda: _slices(uri("evaluation"))),
        evaluated_accuracy=evaluated.get(ACCURACY),
        evaluated_tracks=None if count is None else int(count),
        serving_check=part("serving_check", serving_check),
        infra_blessed=bool(part("serving_check", infra_blessed)),
        infra_validated=None
        if validated is None
        else bool(validated) and all(map(model_utils.is_infra_validated, validated)),
        problems=problems,
    )
    clean = part("answers", lambda: _clean_answers(uri("answers"), genres))
    if clean is None:
        problems.update(dict.fromkeys(DEFORMATIONS, problems["answers"]))
        return known
    if baseline is None:
        problems["baseline"] = baseline_problem
    measured = {deformation: robustness(deformation, clean) for deformation in DEFORMATIONS}
    known = dataclasses.replace(
        known, robustness={key: value for key, value in measured.items() if value is not None}
    )
    return _with_figures(known, clean, baseline, genres, problems)


def _with_figures(
    known: Evidence,
    clean: TrackAnswers,
    baseline: TrackAnswers | None,
    genres: tuple[str, ...],
    problems: dict[str, str],
) -> Evidence:
    """Adds the figures of the answers for the test tracks, and of the baseline's for the same."""
    probabilities, labels, answered = clean.probabilities, clean.labels, clean.answered
    baseline_figures = {}
    if baseline is not None and baseline.track_ids != clean.track_ids:
        problems["baseline"] = "the baseline answered other tracks than the model"
    elif baseline is not None:
        baseline_figures = statistics.overall(baseline.probabilities, baseline.labels)
    known = dataclasses.replace(
        known,
        answers=clean,
        answered_tracks=int(answered.sum()),
        figures=statistics.overall(probabilities, labels),
        baseline=baseline_figures,
    )
    if not answered.all():
        missing = [clean.track_ids[index] for index in np.flatnonzero(~answered)]
        problems["answers"] = f"no numbers for {len(missing)} tracks, {missing[0]} for one"
        return known
    return dataclasses.replace(
        known,
        by_genre=statistics.by_genre(probabilities, labels, genres),
        calibration_by_chance=statistics.calibration_error_by_chance(probabilities),
    )


def readable(of: Callable[[], _Part], problems: dict[str, str], label: str) -> _Part | None:
    """Calls a function that reads; notes why it failed instead of failing, and returns None.

    Every error counts: whatever a broken file provokes, the gate has to name it and refuse.
    """
    try:
        return of()
    except Exception as error:
        logging.exception("the gate cannot read %s", label)
        problems.setdefault(label, str(error).partition("\n")[0] or type(error).__name__)
        return None


def _clean_answers(uri: str, genres: tuple[str, ...]) -> TrackAnswers:
    clean = answers.read(uri, answers.CLEAN)
    if not clean.track_ids:
        raise ValueError("there are no answers for the test tracks")
    if clean.probabilities.shape[1] != len(genres):
        raise ValueError(
            f"its answers have {clean.probabilities.shape[1]} genres instead of {len(genres)}"
        )
    return clean


def _robustness(uri: str, deformation: str, clean: TrackAnswers) -> paired.Robustness:
    deformed = answers.read(uri, deformation)
    if deformed.track_ids != clean.track_ids:
        raise ValueError("other tracks were deformed than the model is judged on")
    if not np.array_equal(deformed.labels, clean.labels):
        raise ValueError("the deformed tracks have other genres")
    return paired.robustness(clean.probabilities, deformed.probabilities, clean.labels)


def _slices(evaluation: str) -> list[Slice]:
    parts = evaluator_figures.slices(evaluation)
    if missing := {*bands.SLICES} - {part.slice for part in parts}:
        raise ValueError(f"the Evaluator has no slices by {', '.join(sorted(missing))}")
    return [
        Slice(
            part.slice,
            part.value,
            part.tracks,
            _share(part.figures.get(ACCURACY, math.nan), part.tracks),
        )
        for part in parts
    ]


def _share(accuracy: float, tracks: int) -> Figure:
    if not tracks or not math.isfinite(accuracy):
        return statistics.MISSING
    return Figure(accuracy, statistics.share(round(accuracy * tracks), tracks).interval)
