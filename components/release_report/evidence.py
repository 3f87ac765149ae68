"""What the report shows of a run: the gate's judgement and what belongs to it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.common.releases import pretraining_note
from components.release_report.mistakes import Mistake
from components.release_report.sounds import Sound


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Content of a report.

    Attributes:
      judgement: The gate's `report.json`; any figure in it may be None.
      chosen: The model that ModelSelector picked, or None.
      mistakes: By model, its worst ones on the test split.
      sounds: By track id, what is heard and seen of the tracks of the shown model's mistakes.
      ingest: GtzanExampleGen's `report.json`.
      facts: Of the run: data, split, seeds, code version.
      libraries: Versions by name.
      training: By model, what it was trained with; of an ensemble, its members' weights.
      flags: The file for `--config` that runs the same again; "" if there is none.
    """

    judgement: Mapping[str, Any]
    chosen: str | None
    mistakes: Mapping[str, Sequence[Mistake]] = dataclasses.field(default_factory=dict)
    sounds: Mapping[str, Sound] = dataclasses.field(default_factory=dict)
    ingest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    libraries: Mapping[str, str] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    flags: str = ""

    @property
    def shown(self) -> str:
        """The model that the report is about: the chosen one, else the best by validation."""
        return self.chosen or best_by_validation(self.judgement)

    def pretraining(self, model: str) -> str:
        """What a model was pretrained on, in words; "" if its training started from scratch."""
        return pretraining_note((self.judgement["release"].get("pretraining") or {}).get(model))


def best_by_validation(judgement: Mapping[str, Any]) -> str:
    """The model with the highest validation accuracy, then the lowest loss; "" without models."""

    def key(model: str) -> tuple[float, float]:
        figures = judgement["models"][model].get("validation") or {}
        accuracy, loss = figures.get("accuracy"), figures.get("loss")
        return (-1.0 if accuracy is None else accuracy, -math.inf if loss is None else -loss)

    return max(judgement["models"], key=key, default="")


def failed_gates(judged: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The gates that a model did not pass, from its part of the judgement."""
    return [gate for gate in judged["gates"] if not gate["passed"]]
