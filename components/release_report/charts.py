"""Charts of the report as inline SVG.

Colours, strokes and text sizes come from the page's style sheet by class, so that a chart follows
light and dark and print. Lengths of bars are percentages of the width that they are given, so text
beside them keeps its size on any screen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

# Of the reliability diagram, in the units of its view box.
_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 350, 10, 214


def bar(
    value: float | None,
    interval: Sequence[float] | None = None,
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
    if interval is not None:
        low, high = map(_percent, interval)
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
    middle_x, middle_y = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    parts = [
        f'<text x="{middle_x}" y="{_HEIGHT - 4}" class="middle">confidence</text>',
        f'<text class="middle" transform="translate(10 {middle_y}) rotate(-90)">accuracy</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _point(tick, tick)
        parts += [
            f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{tick:g}</text>',
            f'<text x="{x:.1f}" y="{_BOTTOM + 15}" class="middle">{tick:g}</text>',
        ]
    parts.append(f'<line class="reference" x1="{_LEFT}" y1="{_BOTTOM}" x2="{_RIGHT}" y2="{_TOP}"/>')
    for name in ("before", "after"):
        bins = [each for each in calibration[name].get("bins", ()) if each["tracks"]]
        points = [_point(each["confidence"], each["accuracy"]) for each in bins]
        if len(points) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline class="line-{name}" points="{line}"/>')
        most = max((each["tracks"] for each in bins), default=1)
        parts += [
            f'<circle class="dot-{name}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{3 + 4 * math.sqrt(each["tracks"] / most):.1f}"/>'
            for (x, y), each in zip(points, bins, strict=True)
        ]
    return _svg(parts, label=label, attributes=f'class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}"')


def _point(confidence: float, accuracy: float) -> tuple[float, float]:
    return _LEFT + confidence * (_RIGHT - _LEFT), _BOTTOM - accuracy * (_BOTTOM - _TOP)


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%"


def _svg(parts: Sequence[str], *, label: str, attributes: str) -> Markup:
    meaning = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(f"<svg {attributes} {meaning}>{''.join(parts)}</svg>")
