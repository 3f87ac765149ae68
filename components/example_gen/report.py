"""The ingest report: JSON for later stages, text for terminals and an HTML page."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from tfx.dsl.io import fileio

from components.example_gen import files, pictures
from components.example_gen.settings import IngestSettings
from components.gtzan import layout, splits

REPORT_FILE = "report.json"
PAGE_FILE = "index.html"

_TEMPLATE = Path(__file__).parent / "report.html.jinja"
_MOST_IN_TERMINAL = 20


def write(
    uri: str,
    content: Mapping[str, Any],
    drawn: Sequence[Mapping[str, Any]],
    *,
    settings: IngestSettings,
) -> str:
    """Writes the report's JSON and its page.

    Args:
      uri: URI of the artifact.
      content: The report's content, see `summary.Summarise`.
      drawn: The tracks that are drawn, see there.
      settings: Ingest settings.

    Returns:
      The page, as HTML.
    """
    page = render_page(content, drawn, settings=settings)
    fileio.makedirs(uri)
    for name, text in ((REPORT_FILE, json.dumps(content, indent=2)), (PAGE_FILE, page)):
        with fileio.open(f"{uri}/{name}", "wb") as file:
            file.write(text.encode())
    return page


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
    rejected = sorted(content["rejected"], key=lambda one: not one["fault"])
    for one in rejected[:_MOST_IN_TERMINAL]:
        lines.append(f"  {layout.printable(one['path'])}: {layout.printable(_reason(one))}")
    if content["files"] - content["accepted"] > _MOST_IN_TERMINAL:
        more = ", ".join(f"{number} {reason}" for reason, number in content["reasons"].items())
        lines.append(f"  … in all: {more}")
    lines += _near_duplicate_lines(content)
    if content["unmatched"]:
        lines.append(f"{content['unmatched']} listed tracks are not in the data")
    return "\n".join(lines)


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


def render_page(
    content: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]], *, settings: IngestSettings
) -> str:
    """Renders the report as one HTML file that contains its pictures.

    Args:
      content: The report's content, see `summary.Summarise`.
      drawn: A track of each genre.
      settings: Ingest settings.
    """
    figures = []
    for track in sorted(drawn, key=lambda one: settings.genres.index(one["genre"])):
        data = files.read(f"{content['source']}/{track['path']}")
        genre = track["genre"]
        picture = pictures.draw(data, name=track["path"], genre=genre, settings=settings)
        figures.append(
            {
                "track": track,
                "image": base64.b64encode(picture).decode(),
                "colour": pictures.colour(genre, settings.genres),
            }
        )
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text())
    largest = max((sum(row.values()) for row in content["tracks"].values()), default=0)
    return template.render(
        summary=content,
        split_names=splits.SPLITS,
        largest=max(1, largest),
        colours={genre: pictures.colour(genre, settings.genres) for genre in settings.genres},
        drawn=figures,
        rejected=[{**one, "text": _reason(one)} for one in content["rejected"]],
        clip_seconds=settings.audio.clip_seconds,
        sample_rate_hz=settings.audio.sample_rate_hz,
    )


def _reason(rejected: dict[str, Any]) -> str:
    """Joins reason and detail without repetition."""
    reason, detail = rejected["reason"], rejected["detail"].removeprefix("is ")
    if not detail or detail.startswith(reason):
        return detail or reason
    return f"{reason} ({detail})"
