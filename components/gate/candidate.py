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

from components.common import answers, bands, calibration, evaluator_figures, metrics
from components.common.answers import TrackAnswers
from components.common.calibration import Calibration
from components.common.copies import originals
from components.common.evaluator_figures import ACCURACY, SliceFigures
from components.common.metrics import Scores, share_interval
from components.gate import paired, production, statistics
from components.gate.evidence import Against, Evidence, Slice
from components.gate.settings import DEFORMATIONS
from components.gate.statistics import Figure

SERVING_CHECK_FILE = "serving_check.json"

_Part = TypeVar("_Part")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What is known of a model before it is judged; a part that could not be read is None.

    Attributes:
      name: In the catalog.
      model: Folder of its SavedModel.
      checksum: Of the SavedModel's files.
      answers: For the test tracks as they are.
      deformed: For the deformed ones, by deformation.
      evaluation: The Evaluator's overall figures, by TFMA's names.
      slices: The Evaluator's slices.
      serving_check: ServingCheck's report.
      infra_blessed: ServingCheck's blessing.
      infra_validated: TFX's InfraValidator's blessing; None where it did not run.
      validation: Scores on the validation split.
      validation_tracks: Their number.
      calibration: The temperature, fitted on the validation split.
      problems: Why a part is missing, by its name.
    """

    name: str
    model: str = ""
    checksum: str = ""
    answers: TrackAnswers | None = None
    deformed: Mapping[str, TrackAnswers] = dataclasses.field(default_factory=dict)
    evaluation: Mapping[str, float] | None = None
    slices: list[SliceFigures] | None = None
    serving_check: Mapping[str, Any] | None = None
    infra_blessed: bool = False
    infra_validated: bool | None = None
    validation: Scores | None = None
    validation_tracks: int = 0
    calibration: Calibration | None = None
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read(name: str, input_dict: Mapping[str, list[Artifact]]) -> Candidate:
    """Reads a model's artifacts: `model_<name>`, `answers_<name>` and so on.

    Whatever is missing or broken is a problem of that part, which fails its gates by name.
    """
    problems: dict[str, str] = {}

    def part(label: str, of: Callable[[], _Part]) -> _Part | None:
        return readable(of, problems, label)

    def uri(kind: str) -> str:
        return str(artifact_utils.get_single_uri(input_dict[f"{kind}_{name}"]))

    def deformed_answers(deformation: str) -> TrackAnswers | None:
        return part(deformation, lambda: answers.read(uri("answers"), deformation))

    deformed = {deformation: deformed_answers(deformation) for deformation in DEFORMATIONS}
    validated = part(answers.VALIDATION, lambda: answers.read(uri("model_run"), answers.VALIDATION))
    model = part("model", lambda: str(path_utils.serving_model_path(uri("model")))) or ""
    return Candidate(
        name,
        model=model,
        checksum=part("model", lambda: production.checksum(model)) or "",
        answers=part("answers", lambda: answers.read(uri("answers"), answers.CLEAN)),
        deformed={key: value for key, value in deformed.items() if value is not None},
        evaluation=part("evaluation", lambda: evaluator_figures.figures(uri("evaluation"))),
        slices=part("slices", lambda: evaluator_figures.slices(uri("evaluation"))),
        serving_check=part("serving_check", lambda: _serving_check(uri("serving_check"))),
        infra_blessed=bool(
            part(
                "serving_check",
                lambda: model_utils.is_infra_validated(
                    artifact_utils.get_single_instance(input_dict[f"infra_blessing_{name}"])
                ),
            )
        ),
        infra_validated=_infra_validated(input_dict.get(f"infra_validation_{name}")),
        validation=part(
            answers.VALIDATION, lambda: metrics.score(validated.probabilities, validated.labels)
        )
        if validated
        else None,
        validation_tracks=originals(validated.track_ids) if validated else 0,
        calibration=part("calibration", lambda: calibration.read(uri("model_run"))),
        problems=problems,
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


def evidence(
    candidate: Candidate,
    *,
    baseline: TrackAnswers | None,
    baseline_problem: str,
    against: Against | None,
    expected_tracks: int,
    genres: tuple[str, ...],
) -> Evidence:
    """Computes a candidate's figures.

    Args:
      candidate: The model.
      baseline: The baseline's answers for the test tracks; None without them.
      baseline_problem: Why there are none.
      against: The comparison with production.
      expected_tracks: Tracks of the test split; 0 if unknown.
      genres: Names in label order.
    """
    problems = dict(candidate.problems)
    judged = candidate.answers
    if judged is None or not len(judged.track_ids):
        problems.setdefault("answers", "there are no answers for the test tracks")
        return Evidence(expected_tracks=expected_tracks, against=against, problems=problems)
    if judged.probabilities.shape[1] != len(genres):
        problems["answers"] = (
            f"its answers have {judged.probabilities.shape[1]} genres instead of {len(genres)}"
        )
        return Evidence(expected_tracks=expected_tracks, against=against, problems=problems)
    all_answered = bool(judged.answered.all())
    if not all_answered:
        names = [name for name, ok in zip(judged.track_ids, judged.answered, strict=True) if not ok]
        problems.setdefault("answers", f"no numbers for {len(names)} tracks, {names[0]} for one")
    baseline_figures: dict[str, Figure] = {}
    if baseline is None:
        problems["baseline"] = baseline_problem
    elif baseline.track_ids != judged.track_ids:
        problems["baseline"] = "the baseline answered other tracks than the model"
    else:
        baseline_figures = statistics.overall(baseline.probabilities, baseline.labels)
    probabilities, labels = judged.probabilities, judged.labels
    evaluated = candidate.evaluation or {}
    count = evaluated.get("example_count")
    return Evidence(
        expected_tracks=expected_tracks,
        answered_tracks=int(judged.answered.sum()),
        figures=statistics.overall(probabilities, labels),
        by_genre=statistics.by_genre(probabilities, labels, genres) if all_answered else (),
        slices=_named_slices(candidate.slices, problems),
        calibration_by_chance=statistics.calibration_error_by_chance(probabilities)
        if all_answered
        else None,
        baseline=baseline_figures,
        evaluated_accuracy=evaluated.get(ACCURACY),
        evaluated_tracks=None if count is None else int(count),
        robustness=_robustness(candidate, judged, problems),
        serving_check=candidate.serving_check,
        infra_blessed=candidate.infra_blessed,
        infra_validated=candidate.infra_validated,
        against=against,
        problems=problems,
    )


def _infra_validated(blessings: list[Artifact] | None) -> bool | None:
    if blessings is None:
        return None
    return bool(blessings) and all(map(model_utils.is_infra_validated, blessings))


def _robustness(
    candidate: Candidate, clean: TrackAnswers, problems: dict[str, str]
) -> dict[str, paired.Robustness]:
    measured = {}
    for deformation, deformed in candidate.deformed.items():
        if deformed.track_ids != clean.track_ids:
            problems[deformation] = "other tracks were deformed than the model is judged on"
        elif not np.array_equal(deformed.labels, clean.labels):
            problems[deformation] = "the deformed tracks have other genres"
        else:
            measured[deformation] = paired.robustness(
                clean.predictions, deformed.predictions, clean.labels
            )
    return measured


def _named_slices(
    slices: list[SliceFigures] | None, problems: dict[str, str]
) -> list[Slice] | None:
    if slices is None:
        return None
    missing = {*bands.SLICES} - {part.slice for part in slices}
    if missing:
        problems["slices"] = f"the Evaluator has no slices by {', '.join(sorted(missing))}"
        return None
    return [
        Slice(
            part.slice,
            part.value,
            part.tracks,
            _share(part.figures.get(ACCURACY, math.nan), part.tracks),
        )
        for part in slices
    ]


def _share(accuracy: float, tracks: int) -> Figure:
    if not tracks or not math.isfinite(accuracy):
        return statistics.MISSING
    return Figure(accuracy, share_interval(round(accuracy * tracks), tracks))


def _serving_check(uri: str) -> dict[str, Any]:
    report = json.loads(io_utils.read_string_file(f"{uri}/{SERVING_CHECK_FILE}"))
    if not isinstance(report, dict):
        raise ValueError(f"{SERVING_CHECK_FILE} holds no object")
    checks = report.get("checks")
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        raise ValueError(f"{SERVING_CHECK_FILE} lists no checks")
    for name in ("latency_ms", "bare_ms"):
        if not isinstance(report.get(name) or {}, dict):
            raise ValueError(f"{name} in {SERVING_CHECK_FILE} holds no figures")
    return report
