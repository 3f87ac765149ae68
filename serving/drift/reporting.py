"""Makes the monitor's report of a released version and a folder of samples."""

import dataclasses
import datetime
import math
from pathlib import Path
from typing import Any

import jinja2
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from serving.drift import judgement
from serving.drift.samples import Samples

DRIFT, NO_DRIFT, TOO_FEW = "drift", "no drift", "too few samples"

_STATISTICS = "assets.extra/training_statistics.pb"
_EVIDENCE = "assets.extra/report.json"
_TONES = {DRIFT: "bad", NO_DRIFT: "good", TOO_FEW: "note"}


def make_report(
    store: ReleaseStore,
    version: int,
    samples: Samples,
    *,
    model: str,
    thresholds: judgement.Thresholds,
    min_samples: int,
) -> dict[str, Any]:
    """The report, as JSON and as the page's values.

    Args:
      store: The released versions.
      version: The version in production.
      samples: What was sampled of it.
      model: The model's name.
      thresholds: What each figure may be.
      min_samples: Judges nothing with fewer.

    Raises:
      UserError: The version holds no training statistics, or broken ones.
    """
    training = _training_statistics(store.folder(version))
    findings: list[judgement.Finding] = []
    distributions: list[judgement.Distribution] = []
    count = len(samples.answers)
    enough = count >= min_samples
    if enough:
        findings, distributions = judgement.judge(
            training, samples, thresholds, test_confidence=_test_confidence(store, version)
        )
    drifted = dict.fromkeys(each.measure.partition(":")[0] for each in findings if each.drift)
    if not enough:
        verdict = TOO_FEW
        sentence = (
            f"Too few samples to judge: {count} of version {version}, at least {min_samples} "
            "are needed."
        )
    elif drifted:
        verdict, sentence = DRIFT, f"Drift in {count} samples: {'; '.join(drifted)}."
    else:
        verdict = NO_DRIFT
        sentence = f"No drift: {count} samples are like the training data of version {version}."
    return {
        "verdict": verdict,
        "sentence": sentence,
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": model,
        "version": version,
        "answers": count,
        "trained": int(training.datasets[0].num_examples),
        "calls": samples.calls,
        "notes": _notes(samples),
        "findings": [dataclasses.asdict(each) for each in findings],
        "distributions": [dataclasses.asdict(each) for each in distributions],
        "refused": [
            {"status": status, "reason": reason, "calls": calls}
            for (status, reason), calls in samples.refused.most_common()
        ],
    }


def render(report: dict[str, Any]) -> str:
    """The report as one HTML page that needs nothing from a network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = _figure
    template = environment.get_template("page.html.jinja")
    return template.render(**report, tone=_TONES[report["verdict"]])


def write(path: Path, text: str) -> None:
    """Writes a file as a whole, so that nobody reads a part of it.

    Raises:
      OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _training_statistics(folder: str) -> Any:
    path = f"{folder}/{_STATISTICS}"
    if not files.exists(path):
        raise UserError(f"{folder} holds no {_STATISTICS}: nothing can be compared with it")
    try:
        with files.open_file(path) as opened:
            parsed = statistics_pb2.DatasetFeatureStatisticsList.FromString(opened.read())
    except DecodeError as error:
        raise UserError(f"{path} holds no statistics of TFDV: {error}") from error
    if len(parsed.datasets) != 1 or not parsed.datasets[0].num_examples:
        raise UserError(f"{path} holds statistics of no examples")
    return parsed


def _test_confidence(store: ReleaseStore, version: int) -> float | None:
    """Mean confidence on the release's test tracks, by its evidence; None if that is unknown."""
    path = f"{store.folder(version)}/{_EVIDENCE}"
    if not files.exists(path):
        return None
    try:
        models = foreign_json.parse(files.read_bytes(path, foreign_json.MAX_BYTES + 1))["models"]
        bins = models[store.release(version).network]["calibration"]["after"]["bins"]
        filled = [each for each in bins if each["tracks"]]
        tracks = sum(each["tracks"] for each in filled)
        confidence = float(sum(each["confidence"] * each["tracks"] for each in filled) / tracks)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None
    return confidence if math.isfinite(confidence) else None


def _notes(samples: Samples) -> list[str]:
    notes = []
    if samples.broken:
        notes.append(
            f"{samples.broken} lines of the samples cannot be read and were passed over: the first "
            f"is {samples.first_broken}."
        )
    if samples.other_versions:
        notes.append(f"{samples.other_versions} answers of other versions were left out.")
    return notes


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
