"""Makes the monitor's report of a released version and a folder of samples."""

import dataclasses
import datetime
import json
import math
from pathlib import Path
from typing import Any

from components.audio.settings import AudioSettings
from components.common import files
from components.common.errors import UserError
from components.common.release_reading import read_release
from serving.drift import judgement, statistics
from serving.drift.samples import Samples
from serving.drift.thresholds import Thresholds

DRIFT, NO_DRIFT, TOO_FEW = "drift", "no drift", "too few samples"

_STATISTICS = "assets.extra/training_statistics.pb"
_EVIDENCE = "assets.extra/report.json"


def training_statistics(version: str, file: str = "") -> Any:
    """TFDV's statistics of the training split of a version, with the bandwidth that serving has.

    Args:
      version: Its folder.
      file: Statistics to read in their place; "" for those that the version holds.

    Raises:
      UserError: They are missing or broken.
    """
    path = file or f"{version}/{_STATISTICS}"
    if not files.exists(path):
        if file:
            raise UserError(f"--training-statistics is not there. Received: {file!r}")
        raise UserError(
            f"{version} holds no {_STATISTICS}: it was pushed by an earlier Gatefold. Give "
            "--training-statistics FILE, the FeatureStats.pb of StatisticsGen's Split-train"
        )
    with files.open_file(path) as opened:
        parsed = statistics.parse_statistics(opened.read(), name=path)
    statistics.cap_bandwidth(parsed, AudioSettings().sample_rate_hz / 2)
    return parsed


def test_confidence(version: str) -> float | None:
    """Mean confidence on the release's test tracks, by its evidence; None if that is unknown."""
    path = f"{version}/{_EVIDENCE}"
    if not files.exists(path):
        return None
    try:
        with files.open_file(path, "r") as opened:
            models = json.loads(opened.read())["models"]
        bins = models[read_release(version)["model"]]["calibration"]["after"]["bins"]
        filled = [each for each in bins if each["tracks"]]
        tracks = sum(each["tracks"] for each in filled)
        confidence = float(sum(each["confidence"] * each["tracks"] for each in filled) / tracks)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return confidence if math.isfinite(confidence) else None


def report(
    *,
    model: str,
    version: int,
    training: Any,
    samples: Samples,
    thresholds: Thresholds,
    confidence: float | None,
    min_samples: int,
) -> dict[str, Any]:
    """The report, as JSON and as the page's values.

    Args:
      model: The model.
      version: The version in production.
      training: Its training statistics.
      samples: What was sampled of it.
      thresholds: What each figure may be.
      confidence: Mean confidence on the test tracks, if it is known.
      min_samples: Judges nothing with fewer.
    """
    findings: list[judgement.Finding] = []
    distributions: list[judgement.Distribution] = []
    enough = len(samples.answers) >= min_samples
    if enough:
        findings, distributions = judgement.judge(
            training, samples, thresholds, test_confidence=confidence
        )
    drifted = [each for each in findings if each.drift]
    count = len(samples.answers)
    if not enough:
        verdict = TOO_FEW
        sentence = (
            f"Too few samples to judge: {count} of version {version}, at least {min_samples} "
            "are needed."
        )
    elif drifted:
        verdict = DRIFT
        names = dict.fromkeys(each.measure.partition(":")[0] for each in drifted)
        sentence = f"Drift in {count} samples: {'; '.join(names)}."
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


def write(path: Path, text: str) -> None:
    """Writes a file as a whole, so that nobody reads a part of it.

    Raises:
      OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
