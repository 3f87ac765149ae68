"""The ingest report: JSON for later stages, text for terminals and an HTML page."""

import colorsys
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from tfx.dsl.io import fileio

from components.example_gen.settings import IngestSettings
from components.gtzan import layout, splits

REPORT_FILE = "report.json"
PAGE_FILE = "index.html"

_TEMPLATE = Path(__file__).parent / "report.html.jinja"
_MOST_IN_TERMINAL = 20


def save(content: dict[str, Any], uri: str) -> None:
    """Writes the report's content (see `summary.Summarise`) as `report.json`."""
    with fileio.open(f"{uri}/{REPORT_FILE}", "wb") as file:
        file.write(json.dumps(content, indent=2).encode())


def write_page(uri: str, settings: IngestSettings) -> tuple[dict[str, Any], str]:
    """Writes the page beside the report's JSON; returns the content and the page, as HTML."""
    with fileio.open(f"{uri}/{REPORT_FILE}", "rb") as file:
        content: dict[str, Any] = json.loads(file.read())
    page = render_page(content, settings)
    with fileio.open(f"{uri}/{PAGE_FILE}", "wb") as file:
        file.write(page.encode())
    return content, page


def as_text(content: Mapping[str, Any]) -> str:
    """Formats the report's content as a plain-text table, for terminals, logs and errors."""
    width = max(len(genre) for genre in [*content["tracks"], "genre"])
    lines = ["  ".join([f"{'genre':{width}}", *(f"{split:>10}" for split in splits.SPLITS)])]
    for genre, by_split in [*content["tracks"].items(), ("all", content["splits"])]:
        numbers = (f"{by_split.get(split, 0):>10}" for split in splits.SPLITS)
        lines.append("  ".join([f"{genre:{width}}", *numbers]))
    lines.append("")
    lines.append(
        f"{content['accepted']} of {content['files']} files accepted, {content['faulty']} faulty"
    )
    # Faults first: of a long list, the part that is shown must hold what has to be mended.
    rejected = sorted(content["rejected"], key=lambda row: not row["fault"])
    for row in rejected[:_MOST_IN_TERMINAL]:
        lines.append(f"  {layout.printable(row['path'])}: {layout.printable(_reason(row))}")
    if content["files"] - content["accepted"] > _MOST_IN_TERMINAL:
        more = ", ".join(f"{number} {reason}" for reason, number in content["reasons"].items())
        lines.append(f"  … in all: {more}")
    lines += _near_duplicate_lines(content)
    if content["unmatched"]:
        lines.append(f"{content['unmatched']} listed tracks are not in the data")
    return "\n".join(lines)


def as_sentence(properties: Mapping[str, Any]) -> str:
    """Says how many files were accepted and why others were left out, in one sentence.

    Args:
      properties: Custom properties of the `ingest_report` artifact: `tracks`, `rejected`, `faulty`,
        `reasons`, which is JSON, and `leaks`, the pairs of near-duplicates across splits.

    Returns:
      For example "68 tracks accepted, 2 files left out: 1 not audio, 1 duplicate".
    """
    accepted = f"{properties['tracks']} tracks accepted"
    rejected, leaks = int(properties["rejected"]), int(properties.get("leaks", 0))
    if not rejected:
        sentence = f"{accepted}, no file left out"
    else:
        reasons = json.loads(properties["reasons"])
        named = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        sentence = f"{accepted}, {rejected} file{'s' if rejected > 1 else ''} left out: {named}"
    if not leaks:
        return sentence
    pairs = f"{leaks} pair{'s' if leaks > 1 else ''} of near-duplicates"
    return f"{sentence}; {pairs} across splits (--duplicates drop keeps one of each)"


def render_page(content: Mapping[str, Any], settings: IngestSettings) -> str:
    """Renders the report's content as one HTML file."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text())
    largest = max((sum(row.values()) for row in content["tracks"].values()), default=0)
    return template.render(
        summary=content,
        split_names=splits.SPLITS,
        largest=max(1, largest),
        colours=_colours(settings.genres),
        rejected=[{**row, "text": _reason(row)} for row in content["rejected"]],
        clip_seconds=settings.audio.clip_seconds,
        sample_rate_hz=settings.audio.sample_rate_hz,
    )


def _near_duplicate_lines(content: Mapping[str, Any]) -> list[str]:
    pairs = content["near_duplicates"]
    if not pairs:
        return []
    number, leaks = content["pairs"], content["leaks"]
    lines = [f"{number} pairs of near-duplicates, {leaks} of them across splits"]
    # Those that leak first: a model may have heard in training what it is tested on.
    listed = sorted(pairs, key=lambda pair: not pair["across_splits"])
    for pair in listed[:_MOST_IN_TERMINAL]:
        sides = ", ".join(side or "left out" for side in pair["splits"])
        first, second = (layout.printable(pair[name]) for name in ("first", "second"))
        lines.append(f"  {first} and {second} ({sides})")
    if number > _MOST_IN_TERMINAL:
        lines.append(f"  … and {number - _MOST_IN_TERMINAL} more")
    if leaks:
        lines.append("  --duplicates drop keeps one of each; the report has the details")
    return lines


def _reason(rejected: Mapping[str, Any]) -> str:
    """Joins reason and detail without repetition."""
    reason, detail = rejected["reason"], rejected["detail"].removeprefix("is ")
    if not detail or detail.startswith(reason):
        return detail or reason
    return f"{reason} ({detail})"


def _colours(genres: Sequence[str]) -> dict[str, str]:
    """A hexadecimal colour for each genre: hues evenly spaced."""
    colours = {}
    for number, genre in enumerate(genres):
        red, green, blue = colorsys.hsv_to_rgb(number / len(genres), 0.52, 0.92)
        colours[genre] = f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
    return colours
