"""The monitor's report as one HTML page that needs nothing from a network."""

from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent


def render(report: dict[str, Any]) -> str:
    """Renders the page.

    Args:
      report: What `python -m serving.monitor --json` writes.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["figure"] = _figure
    tone = {"drift": "bad", "no drift": "good"}.get(report["verdict"], "note")
    return environment.get_template("page.html.jinja").render(**report, tone=tone)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
