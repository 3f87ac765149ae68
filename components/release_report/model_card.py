"""The model card: Markdown with the fields that Hugging Face and Google's toolkit share.

Sources: huggingface.co/docs/hub/model-cards (front matter, `model-index`); Model Card Toolkit's
schema (model details, model parameters, quantitative analysis, considerations); Mitchell et al.,
Model Cards for Model Reporting, FAT* 2019.
"""

import html
import json
import re
from pathlib import Path

import jinja2

from components.audio.settings import AudioSettings
from components.release_report.evidence import Evidence
from components.release_report.formats import FILTERS
from components.release_report.verdict import verdict

_TEMPLATES = Path(__file__).parent / "templates"
_METRICS = (
    ("Accuracy", "accuracy", "accuracy"),
    ("Top-3 accuracy", "top_3_accuracy", "accuracy"),
    ("Macro-F1", "macro_f1", "f1"),
    ("Log loss", "log_loss", "log_loss"),
    ("Expected calibration error", "ece", "expected_calibration_error"),
    ("Brier score", "brier", "brier_score"),
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#|~])")


def render(evidence: Evidence, *, audio: AudioSettings) -> str:
    """Renders the card of the model that the report is about.

    Args:
      evidence: The report's.
      audio: What the model takes.
    """
    judgement, name = evidence.judgement, evidence.shown
    judged = judgement["models"].get(name) or {}
    figures = judged.get("figures") or {}
    release = judgement["release"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON's strings are YAML's, too.
    environment.filters |= {**FILTERS, "md": escape_markdown, "quoted": json.dumps}
    return environment.get_template("model_card.md.jinja").render(
        judgement=judgement,
        judged=judged,
        name=name or "no model",
        model_name=f"Gatefold {name or 'without a model'}",
        verdict=verdict(judgement, evidence.chosen),
        genres=judgement["genres"],
        tracks=judgement["tracks"],
        metrics=[(title, kind, figures.get(key) or {}) for title, key, kind in _METRICS],
        data=Path(release["data"]).name,
        pretraining=evidence.pretraining(name),
        synthetic=release["synthetic"],
        split=f"{release['split']['method']}, seed {release['split']['seed']}",
        seeds=f"training {release['seed']}",
        facts=evidence.facts,
        audio=audio,
    )


def escape_markdown(text: object) -> str:
    """Makes text stand for itself in Markdown, tables and HTML included."""
    escaped = _MARKDOWN.sub(r"\\\1", html.escape(str(text), quote=False))
    return " ".join(escaped.split())
