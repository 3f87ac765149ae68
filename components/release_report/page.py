"""Renders the evidence of a run as one HTML page that needs nothing from a network."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from components.audio.settings import AudioSettings
from components.common.metrics import FEW_TRACKS
from components.common.published_report import MARKER
from components.release_report import charts
from components.release_report.evidence import Evidence, failed_gates
from components.release_report.formats import FILTERS, plain
from components.release_report.sounds import Sound
from components.release_report.verdict import listed, verdict

_TEMPLATES = Path(__file__).parent / "templates"
_SECTIONS = (
    ("gates", "Gates"),
    ("models", "All models"),
    ("production", "Against production"),
    ("genres", "Genres"),
    ("calibration", "Calibration"),
    ("robustness", "Robustness"),
    ("slices", "Slices"),
    ("serving", "Serving"),
    ("mistakes", "Worst mistakes"),
    ("data", "Data"),
    ("making", "How it was made"),
)


def render(evidence: Evidence, *, audio: AudioSettings) -> str:
    """Renders the page.

    Args:
      evidence: What it shows; figures that are None appear as a dash.
      audio: Length of a window.
    """
    judgement = evidence.judgement
    name = evidence.shown
    models = judgement["models"]
    return (
        _environment()
        .get_template("index.html.jinja")
        .render(
            style=Markup((_TEMPLATES / "style.css").read_text()),
            marker=Markup(MARKER),
            verdict=verdict(judgement, evidence.chosen),
            chosen=evidence.chosen,
            name=name,
            models=models,
            others=[model for model in models if model != name],
            judgement=judgement,
            genres=judgement["genres"],
            overview=_overview(evidence),
            sections=_sections(models.get(name)),
            synthetic=judgement["release"].get("synthetic"),
            pretraining=evidence.pretraining(name),
            few_tracks=0 < judgement["tracks"]["test"] < FEW_TRACKS,
            mistakes=evidence.mistakes,
            sounds=evidence.sounds,
            ingest=evidence.ingest,
            leakage=judgement["leakage"],
            facts=_rows(evidence.facts),
            settings=_rows(judgement["settings"]),
            training={model: _rows(made) for model, made in evidence.training.items()},
            flags=evidence.flags,
            libraries=evidence.libraries,
            strip=functools.partial(_strip, audio=audio),
            bar=charts.bar,
            charts=charts,
        )
    )


def _sections(shown: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The parts that the page has, by their anchors."""
    if shown is None:
        return [section for section in _SECTIONS if section[0] in ("models", "data", "making")]
    missing = set()
    if not any(part["slice"] != "genre" for part in shown["slices"] or ()):
        missing.add("slices")
    return [section for section in _SECTIONS if section[0] not in missing]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a figure may be missing anywhere
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def _overview(evidence: Evidence) -> list[dict[str, Any]]:
    """Rows of the table of models: the shown one first, others, baseline, production."""
    judgement = evidence.judgement
    rows = []
    for name in sorted(judgement["models"], key=lambda model: model != evidence.shown):
        judged = judgement["models"][name]
        rows.append(
            {
                **_compared(name, "chosen" if name == evidence.chosen else "", judged),
                "passed": judged["blessed"],
                "failed": listed([gate["title"] for gate in failed_gates(judged)]),
                "unjudged": sum(not gate["judged"] for gate in judged["gates"]),
                "latency": judged["latency"],
            }
        )
    note = "logistic regression on clip descriptors"
    rows.append(_compared("baseline", note, judgement["baseline"]))
    production = judgement["production"]
    if production["version"] is not None:
        title = f"production, version {production['version']}"
        rows.append(_compared(title, _production_note(production), production))
    return rows


def _compared(name: str, note: str, judged: Mapping[str, Any]) -> dict[str, Any]:
    """A row of what no gate judges."""
    figures = judged.get("figures") or {}
    names = ("accuracy", "macro_f1", "log_loss", "ece")
    return {
        "name": name,
        "note": note,
        "passed": None,
        "validation": judged.get("validation") or {},
        "figures": {figure: figures.get(figure) or {} for figure in names},
        "latency": {},
    }


def _production_note(production: Mapping[str, Any]) -> str:
    """Its model, and on which tracks its figures are."""
    note = str(production["model"])
    if not production.get("figures") or not production["left_out"]:
        return note
    tracks = f"{production['tracks']} test tracks; it was trained on {production['left_out']} more"
    return f"{note}, {tracks}" if note else tracks


def _rows(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The leaves of nested dictionaries that say something, with names as a person writes them."""
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}{str(key).replace('_', ' ').replace('.', ' · ')}"
        if isinstance(value, Mapping) and value:
            rows += _rows(value, f"{name} · ")
        elif value not in (None, "", [], {}):
            rows.append((name, plain(value)))
    return rows


def _strip(
    values: Sequence[float], sound: Sound | None, label: str, *, audio: AudioSettings
) -> Markup:
    """A window timeline below the spectrogram: of the first clip, as that is what is shown."""
    window_seconds = audio.window_frames / audio.frames_per_second
    per_clip = max(1, int(audio.clip_seconds / window_seconds))
    shown = values[:per_clip]
    seconds = sound.seconds if sound else window_seconds * len(shown)
    return charts.strip(shown, seconds=seconds, window_seconds=window_seconds, label=label)
