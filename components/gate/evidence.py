"""What is known of a candidate when it is judged."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from components.common.answers import TrackAnswers
from components.common.calibration import Calibration
from components.gate.paired import Comparison, Robustness
from components.gate.statistics import Figure, GenreFigures


@dataclasses.dataclass(frozen=True)
class Slice:
    """Accuracy on part of the test tracks.

    Attributes:
      slice: What the tracks are divided by, as `loudness`.
      value: Which part it is.
      tracks: Number of tracks.
      accuracy: Share of them that are right, with its interval.
    """

    slice: str
    value: str
    tracks: int
    accuracy: Figure


@dataclasses.dataclass(frozen=True)
class Against:
    """The candidate beside the model in production.

    Attributes:
      comparison: On the tracks that both may be judged on; None without one.
      left_out: Test tracks that production was trained on.
      same_model: Whether production holds this very model.
      none_yet: Whether nothing is in production.
      problem: Why the two cannot be compared, as one sentence; "" if they can.
      waived: Whether the run may replace a model that it cannot be compared with.
      note: One sentence for people.
      track_changes: Tracks that the two answer differently: `track_id`, `genre`, `candidate` and
        `production`.
    """

    comparison: Comparison | None = None
    left_out: int = 0
    same_model: bool = False
    none_yet: bool = False
    problem: str = ""
    waived: bool = False
    note: str = ""
    track_changes: Sequence[Mapping[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A candidate and its figures on the test split; a part that is missing is None or left out.

    Attributes:
      name: In the catalog.
      model: Folder of its SavedModel.
      checksum: Of the SavedModel's files.
      answers: For the test tracks as they are; None if they cannot be judged.
      validation: For the validation tracks.
      temperature: The calibration, fitted on the validation split.
      expected_tracks: Tracks of the test split, as ingest counted them; 0 if unknown.
      answered_tracks: Tracks with an answer.
      figures: As from `statistics.overall`.
      by_genre: In label order.
      slices: Parts of the test split.
      calibration_by_chance: Calibration error that so few tracks show by chance.
      baseline: The figures of the baseline on the same tracks.
      evaluated_accuracy: The Evaluator's accuracy.
      evaluated_tracks: Its number of tracks.
      robustness: By deformation.
      serving_check: ServingCheck's report.
      infra_blessed: ServingCheck's blessing.
      infra_validated: TFX's InfraValidator's blessing; None where it did not run.
      against: The comparison with production.
      problems: Why a part is missing, by the part's name.
    """

    name: str = ""
    model: str = ""
    checksum: str = ""
    answers: TrackAnswers | None = None
    validation: TrackAnswers | None = None
    temperature: Calibration | None = None
    expected_tracks: int = 0
    answered_tracks: int = 0
    figures: Mapping[str, Figure] = dataclasses.field(default_factory=dict)
    by_genre: Sequence[GenreFigures] = ()
    slices: Sequence[Slice] | None = None
    calibration_by_chance: float | None = None
    baseline: Mapping[str, Figure] = dataclasses.field(default_factory=dict)
    evaluated_accuracy: float | None = None
    evaluated_tracks: int | None = None
    robustness: Mapping[str, Robustness] = dataclasses.field(default_factory=dict)
    serving_check: Mapping[str, Any] | None = None
    infra_blessed: bool = False
    infra_validated: bool | None = None
    against: Against | None = None
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
