"""A finished run as ReleaseReport finds it: twelve tracks, ten genres with odd names, five models.

The figures come from the models' answers, which are drawn; so a page shows what fits together.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics
from tfx.types import standard_artifacts

from components.audio import codec
from components.audio.settings import AudioSettings
from components.common import answers, raw_examples
from components.common.artifacts import Report
from components.common.metrics import macro_f1_interval, share_interval
from components.common.raw_examples import RawTrack
from components.release_report.executor import Executor
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
DEFORMATIONS = {
    "mp3_64k": "MP3 at 64 kbit/s",
    "quieter_12db": "12 dB quieter",
    "noise_20db": "white noise at 20 dB SNR",
    "telephone_8k": "telephone, 8 kHz",
    "faster_2pc": "2 % faster",
    "first_10s": "first 10 s only",
}


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
    """The gate's judgement.

    Args:
      failing: By model, the gates that it misses; models without an entry pass all.
      seed: Of the answers.
      **changes: Replace parts of it.
    """
    return {
        "run_id": "20260101-000000-abcdef",
        "created": "2026-01-01T00:00:00Z",
        "settings": {"min_accuracy": 0.5, "robustness": {"mp3_64k": 0.1}, "min_tracks": 10},
        "release": {
            "data": "/music/GTZAN & more",
            "synthetic": False,
            "genres": list(GENRES),
            "split": {"method": "artist", "seed": 3},
            "seed": 7,
        },
        "genres": list(GENRES),
        "tracks": {"train": 44, "validation": 14, "test": TRACKS},
        "models": {name: _judged(name, failing.get(name, ()), seed=seed) for name in MODELS},
        "baseline": {
            **_figures_of(make_answers("lstm", seed=seed)),
            "validation": {"accuracy": 0.4},
        },
        "production": {
            "version": 1795,
            "model": "cnn",
            "checksum": "c" * 64,
            "compared": True,
            "note": "Version 1795 (cnn) is in production and answered the same tracks.",
            "problem": "",
            "tracks": TRACKS,
            "left_out": 1,
            **_figures_of(make_answers("cnn", seed=seed)),
        },
        "waivers": [],
        "loosened": [],
        "leakage": {
            "method": "acoustic fingerprint",
            "pairs": [
                {"track_id": "blues.00001", "other": f"{HOSTILE}.00005", "similarity": 0.97},
            ],
        },
        **changes,
    }


def _judged(name: str, failing: tuple[str, ...], *, seed: int) -> dict[str, Any]:
    clean = make_answers(name, seed=seed)
    figures = _figures_of(clean)
    accuracy = figures["figures"]["accuracy"]
    gates = [
        _gate(
            "accuracy", "Accuracy on the test split", accuracy["value"], 0.5, accuracy["interval"]
        ),
        _gate(
            "macro_f1",
            "Macro-F1 on the test split",
            0.55,
            0.4,
            figures["figures"]["macro_f1"]["interval"],
        ),
        _gate("baseline", "Better than the baseline", 0.31, 0.05, [0.02, 0.6], reference=0.4),
        _gate("calibration", "Calibration error", 0.11, 0.25, [0.05, 0.3], direction="at most"),
        _gate(
            "drop_mp3_64k", "Drop with MP3 at 64 kbit/s", 0.0, 0.1, [-0.1, 0.2], direction="at most"
        ),
        _gate(
            "production_accuracy",
            "Not worse than production",
            *(0.08, -0.05, [-0.1, 0.3]),
            reference=0.75,
        ),
        _gate("latency", "Time of an answer", 1.7, 3.0, None, direction="at most"),
    ]
    for gate in gates:
        if gate["gate"] in failing:
            gate["passed"] = False
            gate["detail"] = "It was not computed, so it fails."
            gate["figure"], gate["interval"] = None, None
    before, after = (_calibration(clean, power) for power in (1.0, 1.6))
    other = make_answers("cnn", seed=seed)
    changes = np.flatnonzero(clean.predictions != other.predictions)
    return {
        "blessed": not failing,
        "checksum": name.encode().hex().ljust(64, "0"),
        "gates": gates,
        **figures,
        "validation": {"accuracy": MODELS[name] / 3, "loss": 2 - MODELS[name] / 3, "tracks": 14},
        "slices": [
            {
                "slice": "loudness",
                "value": "quiet (under -20 dBFS)",
                "tracks": 5,
                "accuracy": 0.6,
                "interval": [0.2, 0.9],
                "judged": False,
            },
            {
                "slice": "source sample rate",
                "value": "44100 Hz",
                "tracks": 12,
                "accuracy": accuracy["value"],
                "interval": accuracy["interval"],
                "judged": True,
            },
        ],
        "calibration": {"temperature": 0.62, "before": before, "after": after},
        "robustness": [
            {
                "deformation": key,
                "title": title,
                "accuracy": max(0.0, accuracy["value"] - 0.08 * (index % 3)),
                "interval": accuracy["interval"],
                "drop": 0.08 * (index % 3),
                "changed": 0.08 * (index % 4),
            }
            for index, (key, title) in enumerate(DEFORMATIONS.items())
        ],
        "latency": {
            "p50_ms": 41.2,
            "p95_ms": 58.9,
            "bare_p95_ms": 34.1,
            "ratio_p95": 1.73,
            "memory_bytes": 612_000_000,
        },
        "against_production": {
            "tracks": 11,
            "left_out": 1,
            "only_candidate": 3,
            "only_production": 1,
            "mcnemar_p": 0.625,
            "accuracy_difference": [0.18, -0.09, 0.45],
            "log_loss_difference": [-0.31, -0.7, 0.05],
            "same_model": False,
            "track_changes": [
                {
                    "track_id": clean.track_ids[row],
                    "genre": GENRES[clean.labels[row]],
                    "candidate": GENRES[clean.predictions[row]],
                    "production": GENRES[other.predictions[row]],
                }
                for row in changes
            ],
        },
    }


def _gate(gate, title, figure, threshold, interval, *, direction="at least", reference=None):
    return {
        "gate": gate,
        "title": title,
        "figure": figure,
        "interval": interval,
        "threshold": threshold,
        "direction": direction,
        "reference": reference,
        "passed": True,
        "judged": True,
        "detail": "",
        "waived": False,
    }


def _figures_of(clean: answers.TrackAnswers) -> dict[str, Any]:
    labels, predictions = clean.labels, clean.predictions
    every = np.arange(len(GENRES))
    confusion = metrics.confusion_matrix(labels, predictions, labels=every)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predictions, labels=every, zero_division=np.nan
    )
    value = float((labels == predictions).mean())
    top_3 = np.argsort(-clean.probabilities, axis=1)[:, :3]
    return {
        "figures": {
            "accuracy": {
                "value": value,
                "interval": share_interval(int(np.trace(confusion)), int(confusion.sum())),
            },
            "top_3_accuracy": {"value": float((top_3 == labels[:, None]).any(axis=1).mean())},
            "macro_f1": {"value": float(np.nanmean(f1)), "interval": macro_f1_interval(confusion)},
            "log_loss": {
                "value": float(metrics.log_loss(labels, clean.probabilities, labels=every))
            },
            "ece": {"value": 0.11, "interval": [0.05, 0.3]},
            "brier": {"value": 0.48, "interval": [0.3, 0.7]},
        },
        "by_genre": [
            {
                "genre": genre,
                "tracks": int(support[index]),
                "precision": None if np.isnan(precision[index]) else float(precision[index]),
                "recall": None if np.isnan(recall[index]) else float(recall[index]),
                "recall_interval": [0.1, 1.0],
                "f1": None if np.isnan(f1[index]) else float(f1[index]),
                "auc": 0.9,
            }
            for index, genre in enumerate(GENRES)
        ],
        "confusion": confusion.tolist(),
    }


def _calibration(clean: answers.TrackAnswers, power: float) -> dict[str, Any]:
    probabilities = clean.probabilities**power
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    confidence, right = probabilities.max(axis=1), clean.predictions == clean.labels
    bins = []
    for low in np.linspace(0, 0.8, 5):
        inside = (confidence >= low) & (confidence < low + 0.2)
        if inside.any():
            bins.append(
                {
                    "low": low,
                    "high": low + 0.2,
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(right[inside].mean()),
                    "tracks": int(inside.sum()),
                }
            )
    return {"ece": 0.3 / power, "log_loss": 1.2 / power, "bins": bins}


class World:
    """The artifacts of a run in a folder, and the report of it."""

    def __init__(self, folder: Path, *, sound: bool = True) -> None:
        self.folder = folder
        self._write_answers()
        if sound:
            self._write_examples()
        else:
            (folder / "examples").mkdir()

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
                f"model_run_{model}": [
                    artifact(standard_artifacts.ModelRun, self.folder / f"model_run_{model}")
                ]
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
            if model != "ensemble":
                self._json(f"model_run_{model}/history.json", HISTORY)
        counts = {"train": 4, "validation": 2, "test": 1}
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


_EPOCHS = np.arange(1, 25)
HISTORY = {
    "best_epoch": 17,
    "seconds": 34.5,
    "epochs": {
        "accuracy": (1 - 0.9 * np.exp(-_EPOCHS / 6)).tolist(),
        "val_window_accuracy": (0.6 - 0.5 * np.exp(-_EPOCHS / 7)).tolist(),
        "val_track_accuracy": (0.7 - 0.6 * np.exp(-_EPOCHS / 8)).tolist(),
        "loss": (2.3 * np.exp(-_EPOCHS / 7)).tolist(),
        "val_track_loss": (1.1 + 1.2 * np.exp(-_EPOCHS / 5)).tolist(),
    },
}
RUN = {
    "models": list(MODELS),
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
