"""A finished run as ReleaseReport finds it: twelve tracks, ten genres with odd names, five models.

The figures come from the models' answers, which are drawn; so a page shows what fits together.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from tfx.types import standard_artifacts

from components.audio import codec
from components.audio.deformations import TITLES
from components.audio.settings import AudioSettings
from components.common import answers, raw_examples
from components.common.artifacts import Report
from components.common.calibration import Calibration, Figures
from components.common.raw_examples import RawTrack
from components.gate import paired, statistics
from components.gate import report as gate_report
from components.gate.evidence import Against, Evidence, Slice
from components.gate.gates.rows import AT_LEAST, AT_MOST, GateRow
from components.gate.production import Production
from components.gate.settings import GateSettings
from components.gate.statistics import Figure
from components.release_report.executor import Executor
from components.trainer.weight_sources import pretraining
from tests.conftest import chord

HOSTILE = "<img src=x onerror=alert(1)>"
GENRES = (
    *("blues", "drum & bass", "[live]", "Schlager für Übermütige", 'rock "n" roll'),
    *(HOSTILE, "hip_hop*", "ジャズ", "métal|noir", "a genre with a rather long name"),
)
# How much each model knows: the weight of the right genre beside noise.
MODELS = {"cnn": 1.3, "lstm": 0.8, "ann": 0.3, "musicnn": 2.6, "ensemble": 2.4}
AUDIO = AudioSettings()
TRACKS = 12
SECONDS = 12


def make_answers(model: str, *, seed: int = 0) -> answers.TrackAnswers:
    """Answers of a model that knows as much as `MODELS` says."""
    draw = np.random.default_rng([seed, *model.encode()])
    labels = np.arange(TRACKS) % len(GENRES)
    windows = int(SECONDS / 2.97)
    own = draw.normal(size=(TRACKS, 1, len(GENRES)))
    own[np.arange(TRACKS), :, labels] += MODELS[model]
    logits = 1.2 * own + 0.7 * draw.normal(size=(TRACKS, windows, len(GENRES)))
    by_window = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return answers.in_order(
        [f"{GENRES[label]}.{number:05d}" for number, label in enumerate(labels)],
        labels,
        by_window.mean(axis=1),
        window_probabilities=by_window,
        counts=np.ones((TRACKS, windows), bool),
    )


def judge(failing: dict[str, tuple[str, ...]], *, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """The gate's judgement, as the gate's own code writes it.

    Args:
      failing: By model, the gates that it misses; models without an entry pass all.
      seed: Of the answers.
      **changes: Replace parts of it.
    """
    return {**json.loads(_judgement(tuple(failing.items()), seed)), **changes}


@functools.cache
def _judgement(failing: tuple[tuple[str, tuple[str, ...]], ...], seed: int) -> str:
    content = gate_report.judgement(
        [_judged(name, dict(failing).get(name, ()), seed=seed) for name in MODELS],
        gate=GateSettings(),
        run_id="20260101-000000-abcdef",
        release={
            "data": "/music/GTZAN & more",
            "synthetic": False,
            "genres": list(GENRES),
            "split": {"method": "artist", "seed": 3},
            "seed": 7,
            "pretraining": {"musicnn": pretraining("msd"), "cnn": pretraining("none")},
        },
        genres=GENRES,
        tracks={"train": 44, "validation": 14, "test": TRACKS},
        baseline=make_answers("lstm", seed=seed),
        baseline_validation=make_answers("ann", seed=seed),
        production=Production(
            version=1795,
            path="/serving/1795",
            model="cnn",
            checksum="c" * 64,
            genres=GENRES,
            answers=make_answers("cnn", seed=seed),
        ),
        leakage={
            "pairs": 17,
            "across_splits": 1,
            "near_duplicates": [
                {"first": "blues.00001", "second": f"{HOSTILE}.00005", "similarity": 0.97},
            ],
        },
    )
    for name, skill in MODELS.items():
        figures = {"accuracy": skill / 3, "loss": 2 - skill / 3, "tracks": 14}
        content["models"][name]["validation"] = figures
    return json.dumps(content)


def _judged(name: str, failing: tuple[str, ...], *, seed: int) -> tuple[Evidence, list[GateRow]]:
    evidence = _evidence(name, seed)
    figures = evidence.figures
    accuracy = figures["accuracy"]
    rows = [
        _row("accuracy", "Accuracy on the test split", accuracy, 0.5),
        _row("macro_f1", "Macro-F1 on the test split", figures["macro_f1"], 0.4),
        _row("baseline", "Better than the baseline", Figure(0.31, (0.02, 0.6)), 0.05),
        _row("calibration", "Calibration error", figures["ece"], 0.25, AT_MOST),
        _row("drop_mp3_64k", "Drop with MP3 at 64 kbit/s", Figure(0.0, (-0.1, 0.2)), 0.1, AT_MOST),
        _row("production_accuracy", "Not worse than production", Figure(0.08, (-0.1, 0.3)), -0.05),
        _row("latency", "Time of an answer", Figure(1.7), 3.0, AT_MOST),
    ]
    missed = {
        "passed": False,
        "detail": "It was not computed, so it fails.",
        "figure": None,
        "interval": None,
    }
    rows = [dataclasses.replace(row, **missed) if row.gate in failing else row for row in rows]
    return evidence, rows


@functools.cache
def _evidence(name: str, seed: int) -> Evidence:
    clean, production = make_answers(name, seed=seed), make_answers("cnn", seed=seed)
    figures = statistics.overall(clean.probabilities, clean.labels)
    loudness = Slice("loudness", "quiet (under -25 dBFS)", 5, Figure(0.6, (0.2, 0.9)))
    return Evidence(
        name=name,
        checksum=name.encode().hex().ljust(64, "0"),
        answers=clean,
        temperature=Calibration(0.62, 14, Figures(0.3, 1.2), Figures(0.2, 0.8)),
        figures=figures,
        by_genre=statistics.by_genre(clean.probabilities, clean.labels, GENRES),
        slices=[loudness, Slice("source_sample_rate", "44100 Hz", TRACKS, figures["accuracy"])],
        robustness={
            deformation: paired.robustness(
                clean.probabilities, np.roll(clean.probabilities, index % 3, axis=0), clean.labels
            )
            for index, deformation in enumerate(TITLES)
        },
        serving_check={
            "latency_ms": {"p50": 41.2, "p95": 58.9},
            "bare_ms": {"p95": 34.1},
            "ratio_p95": 1.73,
            "memory_bytes": 612_000_000,
        },
        against=Against(
            comparison=paired.compare(clean.probabilities, production.probabilities, clean.labels),
            left_out=1,
            note="Version 1795 (cnn) is in production and answered the same tracks.",
            track_changes=[
                {
                    "track_id": clean.track_ids[row],
                    "genre": GENRES[clean.labels[row]],
                    "candidate": GENRES[clean.predictions[row]],
                    "production": GENRES[production.predictions[row]],
                }
                for row in np.flatnonzero(clean.predictions != production.predictions)
            ],
        ),
    )


def _row(
    gate: str, title: str, figure: Figure, threshold: float, direction: str = AT_LEAST
) -> GateRow:
    return GateRow(
        gate=gate,
        title=title,
        figure=figure.value,
        threshold=threshold,
        direction=direction,
        passed=True,
        interval=figure.interval,
    )


class World:
    """The artifacts of a run in a folder, and the report of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._write_answers()
        self._write_examples()

    def report(self, judgement: dict[str, Any], *, chosen: str | None, name: str = "report") -> str:
        """Runs the executor; returns the report's URI."""
        self._json("judgement/report.json", judgement)
        self._json("selection/selection.json", {"chosen": chosen, "candidates": []})
        outputs = {"report": [artifact(Report, self.folder / name)]}
        Executor().Do(
            self._inputs(), outputs, {"run": json.dumps(RUN), "data_fingerprint": "c0ffee"}
        )
        return str(self.folder / name)

    def _inputs(self) -> dict[str, Any]:
        return {
            "judgement": [artifact(Report, self.folder / "judgement")],
            "selection": [artifact(Report, self.folder / "selection")],
            "examples": [artifact(standard_artifacts.Examples, self.folder / "examples")],
            "ingest_report": [artifact(Report, self.folder / "ingest")],
            **{
                f"answers_{model}": [artifact(Report, self.folder / f"answers_{model}")]
                for model in MODELS
            },
            **{
                f"model_run_{model}": [artifact(Report, self.folder / f"model_run_{model}")]
                for model in MODELS
            },
        }

    def _json(self, path: str, content: Any) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))

    def _write_answers(self) -> None:
        for model in MODELS:
            answers.write(str(self.folder / f"answers_{model}"), answers.CLEAN, make_answers(model))
            training = {"epochs": 12, "model": {"weights": "msd"}, "remark": ""}
            self._json(f"model_run_{model}/network.json", {"training": training})
        counts = {"train": 4, "validation": 2, "test": 1}
        (self.folder / "ingest").mkdir()
        (self.folder / "ingest" / "index.html").write_text("<h1>Ingest</h1>")
        self._json(
            "ingest/report.json",
            {
                "source": "/music/GTZAN & more",
                "files": 72,
                "accepted": 70,
                "faulty": 1,
                "split_method": "artist",
                "split_seed": 3,
                "tracks": dict.fromkeys(GENRES, counts),
                "rejected": [{"path": f"{HOSTILE}/a.wav", "reason": "not audio", "detail": ""}],
            },
        )

    def _write_examples(self) -> None:
        clean = make_answers("cnn")
        raw_examples.write_records(
            f"{self.folder}/examples/Split-test/data_tfrecord-00000-of-00001",
            (
                RawTrack(
                    track_id,
                    GENRES[label],
                    codec.to_pcm16(chord(seed, AUDIO, seconds=SECONDS)),
                ).serialise()
                for seed, (track_id, label) in enumerate(
                    zip(clean.track_ids, clean.labels, strict=True)
                )
            ),
        )


def artifact(kind: Any, uri: Path) -> Any:
    made = kind()
    made.uri = str(uri)
    return made


RUN = {
    "models": list(MODELS),
    "flags": "models: cnn,musicnn\nsplit: artist\n",
    "facts": {
        "data": "/music/GTZAN & more",
        "split": "artist",
        "split_seed": 3,
        "seed": 7,
        "code_version": "c9e6de4a1b2c",
        "data_fingerprint": "f" * 64,
        "audio.sample_rate_hz": 22050,
    },
    "audio": {"sample_rate_hz": 22050, "clip_seconds": 30},
}
