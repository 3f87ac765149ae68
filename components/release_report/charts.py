"""Charts of the report as inline SVG.

Colours, strokes and text sizes come from the page's style sheet by class, so that a chart follows
light and dark and print. Lengths of bars are percentages of the place that they are given, so text
beside them keeps its size on any screen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

# Of the charts with axes, in the units of their view box.
_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 36


def bar(
    value: float | None,
    interval: Sequence[float | None] | None = None,
    *,
    mark: float | None = None,
    label: str = "",
) -> Markup:
    """Draws a share as a bar with its interval.

    Args:
      value: In [0, 1]; None draws an empty bar.
      interval: Its ends, in [0, 1]; drawn as a line with ends.
      mark: Where a vertical line marks a reference value, in [0, 1].
      label: What it shows, for those who do not see it.
    """
    parts = ['<rect class="bar-back" width="100%" height="100%" rx="3"/>']
    if value is not None:
        parts.append(f'<rect class="bar-value" width="{_percent(value)}" height="100%" rx="3"/>')
    if interval and interval[0] is not None and interval[1] is not None:
        low, high = (_percent(end) for end in interval)
        parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="50%" y2="50%"/>')
        parts += [
            f'<line class="whisker" x1="{end}" x2="{end}" y1="20%" y2="80%"/>'
            for end in (low, high)
        ]
    if mark is not None:
        position = _percent(mark)
        parts.append(f'<line class="reference" x1="{position}" x2="{position}" y1="0" y2="100%"/>')
    return _svg(parts, label=label, attributes='class="bar" width="100%" height="14"')


def strip(values: Sequence[float], *, seconds: float, window_seconds: float, label: str) -> Markup:
    """Draws a probability over time: a cell a window, filled from below by its probability.

    Args:
      values: In [0, 1], one of each window.
      seconds: Length of the whole strip.
      window_seconds: Length of a window.
      label: What it shows, for those who do not see it.
    """
    width = 100.0 * window_seconds / max(seconds, window_seconds * len(values), 1e-9)
    parts = ['<rect class="bar-back" width="100%" height="100%"/>']
    for index, value in enumerate(values):
        height = 100.0 * min(max(value, 0.0), 1.0)
        parts.append(
            f'<rect class="cell" x="{index * width + 0.15:.2f}%" width="{width - 0.3:.2f}%" '
            f'y="{100 - height:.1f}%" height="{height:.1f}%"/>'
        )
    return _svg(parts, label=label, attributes='class="strip" width="100%" height="26"')


def reliability(calibration: Mapping[str, Any], *, label: str) -> Markup:
    """Draws accuracy over confidence, before and after temperature scaling.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Args:
      calibration: `before` and `after`, each with `bins` of `confidence`, `accuracy` and `tracks`.
      label: What it shows, for those who do not see it.
    """
    axes = _Axes((0.0, 1.0), (0.0, 1.0), x_label="confidence", y_label="accuracy")
    parts = axes.frame(ticks_x=_shares(), ticks_y=_shares())
    start, end = axes.place(0, 0), axes.place(1, 1)
    parts.append(f'<line class="reference" {_ends(start, end)}/>')
    for name in ("before", "after"):
        bins = [
            each
            for each in (calibration.get(name) or {}).get("bins") or []
            if each.get("tracks") and _finite(each.get("confidence"), each.get("accuracy"))
        ]
        places = [axes.place(each["confidence"], each["accuracy"]) for each in bins]
        parts.append(_line(places, f"line-{name}"))
        most = max((each["tracks"] for each in bins), default=1)
        parts += [
            f'<circle class="dot-{name}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{3 + 4 * math.sqrt(each["tracks"] / most):.1f}"/>'
            for (x, y), each in zip(places, bins, strict=True)
        ]
    return _chart(parts, label=label)


def curves(
    epochs: Mapping[str, Sequence[float]],
    names: Sequence[str],
    *,
    best_epoch: int,
    y_label: str,
    label: str,
) -> Markup:
    """Draws metrics by epoch, each with its own class (`curve-0`, `curve-1`, …).

    Args:
      epochs: Values by name, one an epoch.
      names: Which to draw; those that are missing are skipped.
      best_epoch: Zero-based epoch whose weights were kept; marked.
      y_label: The unit; the axis of "accuracy" ends at 1.
      label: What it shows, for those who do not see it.
    """
    values = {name: list(epochs.get(name) or []) for name in names}
    finite = [value for line in values.values() for value in line if _finite(value)]
    highest = 1.0 if y_label == "accuracy" else max(finite, default=1.0) * 1.05 or 1.0
    last = max((len(line) for line in values.values()), default=1)
    axes = _Axes((1.0, max(last, 2)), (0.0, highest), x_label="epoch", y_label=y_label)
    ticks_y = _shares() if y_label == "accuracy" else _nice(highest)
    parts = axes.frame(ticks_x=_epochs(last), ticks_y=ticks_y)
    if 0 <= best_epoch < last:
        start, end = axes.place(best_epoch + 1, 0), axes.place(best_epoch + 1, highest)
        parts.append(f'<line class="reference" {_ends(start, end)}/>')
    for index, line in enumerate(values.values()):
        places = [axes.place(epoch, value) for epoch, value in enumerate(line, 1) if _finite(value)]
        parts.append(_line(places, f"curve-{index}"))
        if len(places) == 1:
            (x, y), *_ = places
            parts.append(f'<circle class="curve-{index}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    return _chart(parts, label=label)


class _Axes:
    """The place of values in a chart, and its frame."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, x_label: str, y_label: str
    ) -> None:
        self._x, self._y = x, y
        self._labels = x_label, y_label

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    def frame(self, *, ticks_x: Sequence[float], ticks_y: Sequence[float]) -> list[str]:
        parts = []
        for tick in ticks_y:
            (left, y), (right, _) = self.place(self._x[0], tick), self.place(self._x[1], tick)
            parts.append(f'<line class="grid" {_ends((left, y), (right, y))}/>')
            parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" class="end">{tick:g}</text>')
        bottom = _HEIGHT - _BOTTOM
        for tick in ticks_x:
            x, _ = self.place(tick, self._y[0])
            parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" class="middle">{tick:g}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        height = (_TOP + bottom) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - 4}" class="middle">{self._labels[0]}</text>'
        )
        parts.append(
            f'<text class="middle" transform="translate(10 {height}) rotate(-90)">'
            f"{self._labels[1]}</text>"
        )
        return parts


def _shares() -> list[float]:
    return [0.0, 0.25, 0.5, 0.75, 1.0]


def _nice(highest: float) -> list[float]:
    """About four round numbers from 0 up."""
    step = 10.0 ** math.floor(math.log10(highest / 2))
    while highest / step > 5:
        step *= 2
    return [round(step * index, 10) for index in range(int(highest / step) + 1)]


def _epochs(last: int) -> list[float]:
    step = max(1, math.ceil(last / 6))
    return [float(epoch) for epoch in range(1, last + 1, step)]


def _finite(*values: Any) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _percent(share: float | None) -> str:
    return f"{100 * min(max(share or 0.0, 0.0), 1.0):.1f}%"


def _ends(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'


def _line(places: Sequence[tuple[float, float]], name: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{name}" points="{points}"/>' if len(places) > 1 else ""


def _chart(parts: Sequence[str], *, label: str) -> Markup:
    return _svg(parts, label=label, attributes=f'class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}"')


def _svg(parts: Sequence[str], *, label: str, attributes: str) -> Markup:
    meaning = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(f"<svg {attributes} {meaning}>{''.join(parts)}</svg>")
