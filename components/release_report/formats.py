"""How figures are written in the page and in the model card."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2


def number(value: Any) -> str:
    """Three significant digits; a dash for what is missing."""
    if missing(value):
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return plain(value)
    if abs(value) >= 1e5:
        return _minus(f"{value:.2e}")
    if 0 < abs(value) < 1e-4:
        return "<0.0001" if value > 0 else ">−0.0001"
    return _minus(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}")


def percent(value: Any) -> str:
    """A share in percent, with a decimal where it is under 10 or needs one."""
    if missing(value):
        return "–"
    return f"{_of_hundred(value)}\u00a0%"


def percents(value: Sequence[Any] | None) -> str:
    """Both ends of an interval of a share, in percent; a dash where one is missing."""
    if not value or any(map(missing, value)):
        return "–"
    return f"{_of_hundred(value[0])} to {_of_hundred(value[1])}\u00a0%"


def interval(value: Sequence[Any] | None) -> str:
    """Both ends of an interval; a dash where one is missing."""
    if not value or any(map(missing, value)):
        return "–"
    return f"{number(value[0])} to {number(value[1])}"


def difference(value: Sequence[Any] | None) -> str:
    """A difference with its interval, from [difference, low, high]."""
    if not value or missing(value[0]):
        return "–"
    text = _minus(f"{value[0]:+.3f}")
    return f"{text}, 95 % interval {interval(value[1:])}" if len(value) > 2 else text


def sentence(text: str) -> str:
    """Text with a capital at its start and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def plain(value: Any) -> str:
    """Any value of JSON as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def result(gate: Mapping[str, Any]) -> str:
    """What a gate came to: "failed", "waived", "not judged" or "passed"."""
    if not gate.get("passed"):
        return "failed"
    if gate.get("waived"):
        return "waived"
    return "not judged" if gate.get("judged") is False else "passed"


def threshold_change(change: Mapping[str, Any]) -> str:
    """A threshold that is looser than its default, as the gate's report lists it."""
    value, default = number(change.get("value")), number(change.get("default"))
    return f"{change.get('gate')} is {value} (default {default})"


def missing(value: Any) -> bool:
    """Whether a figure does not exist: None, undefined, NaN or infinite."""
    if value is None or isinstance(value, jinja2.Undefined):
        return True
    return isinstance(value, float) and not math.isfinite(value)


def _of_hundred(share: float) -> str:
    shown = 100 * share
    return _minus(f"{shown:.0f}" if abs(shown) >= 10 or shown == round(shown) else f"{shown:.1f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


FILTERS: dict[str, Callable[..., str]] = {
    "count": lambda value: "–" if missing(value) else f"{value}",
    "difference": difference,
    "interval": interval,
    "mebibytes": lambda value: "–" if missing(value) else f"{value / 2**20:.0f} MiB",
    "number": number,
    "percent": percent,
    "plain": plain,
    "percents": percents,
    "points": lambda value: "–" if missing(value) else _minus(f"{100 * value:+.0f}"),
    "result": result,
    "sentence": sentence,
    "threshold_change": threshold_change,
    "words": lambda name: str(name).replace("_", " "),
}
