"""The gate's thresholds: plain values with their ranges, read without TensorFlow.

docs/gate.md explains each gate and why its default is what it is.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

_SHARE = (0.0, 1.0)
_DIFFERENCE = (-1.0, 1.0)
_NATS = (0.0, 100.0)


def _setting(default: float | int | None, low: float, high: float) -> Any:
    return dataclasses.field(default=default, metadata={"range": (low, high)})


def _check(settings: Any) -> None:
    """Checks every plain value's type and range.

    Raises:
      ValueError: The text begins with the name of the field.
    """
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, expected = getattr(settings, field.name), hints[field.name]
        if dataclasses.is_dataclass(expected):
            continue
        may_be_off = isinstance(expected, types.UnionType)
        if value is None and may_be_off:
            continue
        if expected is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{field.name} must be true or false. Received: {value!r}")
            continue
        whole = int in (expected, *typing.get_args(expected))
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        low, high = field.metadata["range"]
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            off = ", or null to switch the gate off" if may_be_off else ""
            raise ValueError(
                f"{field.name} must be {kind} from {low:g} to {high:g}{off}. Received: {value!r}"
            )


@dataclasses.dataclass(frozen=True)
class Deformation:
    """What a deformation of the test tracks may do to the answers; None: not judged.

    Attributes:
      max_drop: Largest drop in accuracy against the tracks as they are.
      max_changed: Largest share of tracks whose most probable genre changes.
    """

    max_drop: float | None = _setting(0.1, *_DIFFERENCE)
    max_changed: float | None = _setting(0.3, *_SHARE)

    def __post_init__(self) -> None:
        _check(self)


@dataclasses.dataclass(frozen=True)
class RobustnessSettings:
    """The deformations by their names in `components.audio.deformations`."""

    mp3_64k: Deformation = Deformation(0.1, 0.3)
    quieter_12db: Deformation = Deformation(0.4, 0.6)
    noise_20db: Deformation = Deformation(0.5, 0.7)
    telephone_8k: Deformation = Deformation(0.85, 1.0)
    faster_2pc: Deformation = Deformation(0.1, 0.3)
    first_10s: Deformation = Deformation(0.2, 0.4)


DEFORMATIONS = tuple(field.name for field in dataclasses.fields(RobustnessSettings))


@dataclasses.dataclass(frozen=True)
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
      min_margin_over_baseline: Accuracy that a network must have above that of the simple peer; one
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

    min_accuracy: float | None = _setting(0.5, *_SHARE)
    min_macro_f1: float | None = _setting(0.4, *_SHARE)
    min_top_3_accuracy: float | None = _setting(0.6, *_SHARE)
    min_genre_recall: float | None = _setting(0.1, *_SHARE)
    max_ece: float | None = _setting(0.15, *_SHARE)
    min_margin_over_baseline: float | None = _setting(0.02, *_DIFFERENCE)
    max_slice_deficit: float | None = _setting(0.2, *_DIFFERENCE)
    max_accuracy_loss: float | None = _setting(0.02, *_DIFFERENCE)
    max_log_loss_increase: float | None = _setting(0.05, *_NATS)
    max_chance: float = _setting(0.2, 0.001, 0.999)
    prove_not_worse: bool = False
    max_latency_ratio: float | None = _setting(5.0, 1.0, 1e6)
    max_latency_seconds: float | None = _setting(10.0, 0.001, 1e6)
    max_memory_mib: int | None = _setting(4096, 1, 1 << 30)
    min_tracks: int = _setting(8, 1, 1_000_000)
    robustness: RobustnessSettings = RobustnessSettings()

    def __post_init__(self) -> None:
        _check(self)


def from_dict(values: Mapping[str, Any], *, base: Any = None) -> GateSettings:
    """Makes settings from nested dictionaries; what they leave out is as in `base`.

    Args:
      values: Values by field name, those of `robustness` nested twice.
      base: Settings to change; the defaults unless given.

    Raises:
      ValueError: A key is unknown, or a value has the wrong type or is out of range; the text
        begins with the dotted key.
    """
    settings: GateSettings = _replace(base or GateSettings(), values, prefix="")
    return settings


def as_dict(settings: GateSettings) -> dict[str, Any]:
    """The settings as nested dictionaries of plain values, as for JSON."""
    return dataclasses.asdict(settings)


def flat(settings: GateSettings) -> dict[str, Any]:
    """Every value by its dotted key, `robustness.mp3_64k.max_drop` for one."""
    return _flat(as_dict(settings), "")


def loosened(settings: GateSettings) -> list[dict[str, Any]]:
    """The thresholds that let more pass than their defaults do, as `gate`, `value` and `default`.

    Those that are switched off are not among them: they are waivers.
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


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def _replace(base: Any, values: Mapping[str, Any], *, prefix: str) -> Any:
    names = [field.name for field in dataclasses.fields(base)]
    changes = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in names:
            raise ValueError(f"{key} is no setting of the gate; there are {', '.join(names)}")
        current = getattr(base, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ValueError(f"{key} needs settings of its own below it. Received: {value!r}")
            changes[name] = _replace(current, value, prefix=f"{key}.")
        else:
            changes[name] = value
    try:
        return dataclasses.replace(base, **changes)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None
