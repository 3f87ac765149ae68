"""The gate's thresholds: plain values with their ranges, read without TensorFlow.

docs/explanation/gate.md explains each gate and why its default is what it is.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from components.common.settings_errors import CONFIG, changed
from components.common.settings_errors import flat as flat_values

# None switches a gate off. A text or a truth value is no number, whatever pydantic makes of it.
_Share = Annotated[float | None, Field(strict=True, ge=0, le=1)]
_Difference = Annotated[float | None, Field(strict=True, ge=-1, le=1)]
_Nats = Annotated[float | None, Field(strict=True, ge=0, le=100)]


@dataclass(frozen=True, config=CONFIG)
class Deformation:
    """What a deformation of the test tracks may do to the answers; None: not judged.

    Attributes:
      max_drop: Largest drop in accuracy against the tracks as they are.
      max_changed: Largest share of tracks whose most probable genre changes.
      max_log_loss_increase: How much higher the log loss may be, in nats: a model that is wrong and
        sure is worse than one that is wrong.
    """

    max_drop: _Difference = 0.05
    max_changed: _Share = 0.15
    max_log_loss_increase: _Nats = 0.15


@dataclass(frozen=True, config=CONFIG)
class RobustnessSettings:
    """The deformations by their names in `components.audio.deformations`."""

    mp3_64k: Deformation = Deformation(0.05, 0.15, 0.15)
    quieter_12db: Deformation = Deformation(0.02, 0.05, 0.05)
    noise_20db: Deformation = Deformation(0.15, 0.3, 0.3)
    telephone_8k: Deformation = Deformation(0.45, 0.7, 2.5)
    faster_2pc: Deformation = Deformation(0.05, 0.15, 0.15)
    first_10s: Deformation = Deformation(0.1, 0.25, 0.25)


DEFORMATIONS = tuple(field.name for field in dataclasses.fields(RobustnessSettings))


@dataclass(frozen=True, config=CONFIG)
class GateSettings:
    """What a model must reach on the test split, at track level, to be pushed.

    A threshold of None is a gate that is switched off, which the report lists as a waiver; a gate
    without any threshold refuses every model.

    Attributes:
      min_accuracy: Least share of tracks whose most probable genre is right.
      min_macro_f1: Least mean of the genres' F1.
      min_top_3_accuracy: Least share of tracks whose genre is among the three most probable.
      min_genre_recall: Least recall of every genre that has `min_tracks` tracks.
      max_ece: Largest expected calibration error, where more of it than that is no chance.
      min_margin_over_baseline: Accuracy that a network must have above that of the baseline; one
        that is right on every track passes whatever the margin.
      max_slice_deficit: How far the accuracy of a slice with `min_tracks` tracks may lie under that
        of all tracks.
      max_accuracy_loss: How much lower than production's the accuracy may be.
      max_log_loss_increase: How much higher than production's the log loss may be, in nats.
      max_chance: A comparison over the same tracks counts as worse where equals would come out as
        far apart with at most this probability.
      prove_not_worse: Whether the candidate must prove that it is not worse than production by more
        than the two margins (95 % intervals), instead of being refused once it is seen to be worse.
      max_latency_ratio: Largest 95th percentile of the served answer's time, as a multiple of that
        of the bare call of the same model.
      max_latency_seconds: Largest 95th percentile of the served answer's time for a whole clip.
      max_memory_mib: Most memory of the server with the model, in MiB.
      min_tracks: Tracks that a genre or another slice needs to be judged.
      robustness: What each deformation of the sound may do.
    """

    min_accuracy: _Share = 0.5
    min_macro_f1: _Share = 0.4
    min_top_3_accuracy: _Share = 0.6
    min_genre_recall: _Share = 0.1
    max_ece: _Share = 0.15
    min_margin_over_baseline: _Difference = 0.02
    max_slice_deficit: _Difference = 0.2
    max_accuracy_loss: _Difference = 0.02
    max_log_loss_increase: _Nats = 0.05
    max_chance: Annotated[float, Field(strict=True, ge=0.001, le=0.999)] = 0.2
    prove_not_worse: StrictBool = False
    max_latency_ratio: Annotated[float | None, Field(strict=True, ge=1, le=1e6)] = 5.0
    max_latency_seconds: Annotated[float | None, Field(strict=True, ge=0.001, le=1e6)] = 10.0
    max_memory_mib: Annotated[int | None, Field(strict=True, ge=1, le=1 << 30)] = 4096
    min_tracks: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 8
    robustness: RobustnessSettings = RobustnessSettings()


def from_dict(values: Mapping[str, Any], *, base: GateSettings | None = None) -> GateSettings:
    """Makes settings from nested dictionaries; what they leave out is as in `base`.

    Args:
      values: Values by field name, those of `robustness` nested twice.
      base: Settings to change; the defaults unless given.

    Raises:
      ValueError: A key is unknown, or a value has the wrong type or is out of range; the text
        begins with the dotted key.

    Examples:
      >>> from_dict({"robustness": {"mp3_64k": {"max_drop": 0.1}}}).robustness.mp3_64k.max_drop
      0.1
    """
    return changed(base or GateSettings(), flat_values(values))


def as_dict(settings: GateSettings) -> dict[str, Any]:
    """The settings as nested dictionaries of plain values, as for JSON."""
    return dataclasses.asdict(settings)


def flat(settings: GateSettings) -> dict[str, Any]:
    """Every value by its dotted key, `robustness.mp3_64k.max_drop` for one."""
    return flat_values(as_dict(settings))


def loosened(settings: GateSettings) -> list[dict[str, Any]]:
    """The thresholds that let more pass than their defaults do, as `gate`, `value` and `default`.

    Those that are switched off are not among them: they are waivers.

    Examples:
      >>> loosened(GateSettings(min_accuracy=0.3))
      [{'gate': 'min_accuracy', 'value': 0.3, 'default': 0.5}]
    """
    defaults = flat(GateSettings())
    return [
        {"gate": key, "value": value, "default": defaults[key]}
        for key, value in flat(settings).items()
        if value is not None and _is_looser(key.rpartition(".")[2], value, defaults[key])
    ]


def _is_looser(name: str, value: float, default: float) -> bool:
    if name in ("max_chance", "min_tracks"):  # evidence that a refusal takes: more of it is looser
        return value < default if name == "max_chance" else value > default
    if name.startswith("min_"):
        return value < default
    return name.startswith("max_") and value > default
