"""The ingest report: as JSON for later stages, as CSV, as text for a terminal and as a page."""

import base64
import collections
import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import jinja2
from tfx.dsl.io import fileio

from components.example_gen import files, pictures, tracks
from components.example_gen.plan import Plan
from components.example_gen.settings import IngestSettings
from components.gtzan import splits

REPORT_FILE = "report.json"
TRACKS_FILE = "tracks.csv"
PAGE_FILE = "index.html"

_TEMPLATE = Path(__file__).parent / "report.html.jinja"
_MOST_IN_TERMINAL = 20


def summarise(plan: Plan, *, folder: str, settings: IngestSettings) -> dict[str, Any]:
    """Sums a plan up as what `report.json` holds.

    Args:
      plan: The decision on every file.
      folder: Where the music is.
      settings: What the ingest was told.

    Returns:
      Plain values: `tracks` by genre and split, `splits` totals, `rejected` files with `reason`,
      `detail` and `fault` (whether it counts against the data), `reasons` totals, and more.
    """
    counts = plan.counts()
    faults = [track for track in plan.rejected if track.fault not in tracks.NO_FAULT]
    seconds = sorted(track.duration_seconds for track in plan.accepted)
    rates = collections.Counter(track.source_sample_rate_hz for track in plan.accepted)
    return {
        "source": folder,
        "files": len(plan.accepted) + len(plan.rejected),
        "accepted": len(plan.accepted),
        "faulty": len(faults),
        "max_rejected": settings.max_rejected,
        "failure": plan.failure,
        "split_method": settings.split.method,
        "split_seed": settings.split.seed,
        "tracks": {
            genre: {split: counts.get((genre, split), 0) for split in splits.SPLITS}
            for genre in settings.genres
        },
        "splits": {split: len(members) for split, members in plan.splits.items()},
        "reasons": dict(collections.Counter(track.fault for track in plan.rejected).most_common()),
        "rejected": [
            {
                "path": track.path,
                "reason": track.fault,
                "detail": track.detail,
                "fault": track.fault not in tracks.NO_FAULT,
            }
            for track in plan.rejected
        ],
        "unmatched": list(plan.unmatched),
        "shortest_seconds": seconds[0] if seconds else 0.0,
        "longest_seconds": seconds[-1] if seconds else 0.0,
        "sample_rates_hz": {str(rate): number for rate, number in sorted(rates.items())},
    }


def write(uri: str, plan: Plan, summary: dict[str, Any], *, settings: IngestSettings) -> str:
    """Writes the report's files.

    Args:
      uri: The artifact's place.
      plan: The decision on every file.
      summary: What `summarise` made of it.
      settings: What the ingest was told.

    Returns:
      The page, as HTML.
    """
    page = render_page(plan, summary, settings=settings)
    fileio.makedirs(uri)
    for name, text in (
        (REPORT_FILE, json.dumps(summary, indent=2)),
        (TRACKS_FILE, as_csv(plan)),
        (PAGE_FILE, page),
    ):
        with fileio.open(f"{uri}/{name}", "wb") as file:
            file.write(text.encode())
    return page


def as_csv(plan: Plan) -> str:
    """Lists the accepted tracks: what is known of each, and its split."""
    columns = [
        field.name
        for field in dataclasses.fields(tracks.Examined)
        if field.name not in ("fault", "detail")
    ]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["split", *columns])
    for split, members in plan.splits.items():
        for track in members:
            rows.writerow([split, *(getattr(track, column) for column in columns)])
    return text.getvalue()


def as_text(summary: dict[str, Any]) -> str:
    """Makes the table of a summary in plain text, for a terminal, a log or an error."""
    width = max(len(genre) for genre in [*summary["tracks"], "genre"])
    lines = ["  ".join([f"{'genre':{width}}", *(f"{split:>10}" for split in splits.SPLITS)])]
    for genre, by_split in [*summary["tracks"].items(), ("all", summary["splits"])]:
        numbers = (f"{by_split.get(split, 0):>10}" for split in splits.SPLITS)
        lines.append("  ".join([f"{genre:{width}}", *numbers]))
    lines.append("")
    lines.append(
        f"{summary['accepted']} of {summary['files']} files accepted, {summary['faulty']} faulty"
    )
    # Faults first: of a long list, the part that is shown must hold what has to be mended.
    rejected = sorted(summary["rejected"], key=lambda one: not one["fault"])
    for one in rejected[:_MOST_IN_TERMINAL]:
        lines.append(f"  {one['path']}: {_reason(one)}")
    if len(rejected) > _MOST_IN_TERMINAL:
        more = ", ".join(f"{number} {reason}" for reason, number in summary["reasons"].items())
        lines.append(f"  … in all: {more}")
    if summary["unmatched"]:
        lines.append(f"{len(summary['unmatched'])} listed tracks are not in the data")
    return "\n".join(lines)


def render_page(plan: Plan, summary: dict[str, Any], *, settings: IngestSettings) -> str:
    """Renders the page: one HTML file with its pictures in it.

    Args:
      plan: The decision on every file; one track of each genre is drawn.
      summary: What `summarise` made of it.
      settings: What the ingest was told.
    """
    drawn = []
    for genre in settings.genres:
        track = next((one for one in plan.accepted if one.genre == genre), None)
        if track is None:
            continue
        data = files.read(f"{summary['source']}/{track.path}")
        picture = pictures.draw(data, name=track.path, genre=genre, settings=settings)
        drawn.append(
            {
                "track": track,
                "image": base64.b64encode(picture).decode(),
                "colour": pictures.colour(genre, settings.genres),
            }
        )
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text())
    largest = max((sum(row.values()) for row in summary["tracks"].values()), default=0)
    return template.render(
        summary=summary,
        split_names=splits.SPLITS,
        largest=max(1, largest),
        colours={genre: pictures.colour(genre, settings.genres) for genre in settings.genres},
        drawn=drawn,
        rejected=[{**one, "text": _reason(one)} for one in summary["rejected"]],
        clip_seconds=settings.audio.clip_seconds,
        sample_rate_hz=settings.audio.sample_rate_hz,
    )


def _reason(rejected: dict[str, Any]) -> str:
    """Puts reason and detail together without saying one twice."""
    reason, detail = rejected["reason"], rejected["detail"]
    if not detail or detail.startswith(reason):
        return detail or reason
    return f"{reason} ({detail})"
