"""The end of a run: the baseline is a row like any model, and a refusal names gates and figures."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import summary
from pipeline.local.stages import Output
from pipeline.local.summary import Summary

CONFIG = PipelineConfig(DataConfig("music"), output="out", models=("cnn",))
NOTHING_PUSHED = {"pushed_destination": "", "written": 0}


PRETRAINING = {"data": "ImageNet", "weights": "keras.applications", "licence": "MIT"}


def candidate(model: str, **changes) -> dict:
    return {
        "model": model,
        "validation_accuracy": 0.7,
        "accuracy": 0.6,
        "accuracy_interval": [0.3, 0.8],
        "macro_f1": 0.5,
        "macro_f1_interval": [0.2, 0.7],
        "blessed": True,
        "failed": [],
        "reasons": [],
        **changes,
    }


REFUSED = candidate(
    "lstm",
    blessed=False,
    validation_accuracy=None,
    accuracy=None,
    accuracy_interval=None,
    failed=["accuracy", "drop_mp3_64k"],
    reasons=["Accuracy: not computed: [the disk] burnt", "Drop in accuracy: MP3: 0.500"],
)
ENDED = Summary(
    ingest=Output(
        "ingest",
        {"tracks": 14, "rejected": 2, "reasons": json.dumps({"not audio": 2}), "leaks": 0}
        | {"train": 9, "validation": 2, "test": 3},
    ),
    selection={"candidates": [candidate("cnn"), REFUSED], "chosen": "cnn"},
    judgement={
        "baseline": {
            "figures": {
                "accuracy": {"value": 0.4, "interval": [0.2, 0.6]},
                "macro_f1": {"value": 0.3, "interval": [0.1, 0.5]},
            },
            "validation": {"accuracy": 0.45},
        },
        "release": {"pretraining": {"cnn": [PRETRAINING]}},
        "production": {"note": "version 6 is cnn of this run"},
        "waivers": [{"gate": "max_ece", "reason": "switched off"}],
        "loosened": [{"gate": f"max_{letter}", "value": 1, "default": 0.1} for letter in "abcdef"],
    },
    pushed={"pushed_destination": "out/serving/genre/7", "pushed_version": "7", "written": 1},
    remarks=("vgg16 [small] has learnt nothing",),
)


def shown(config: PipelineConfig = CONFIG, **changes) -> list[str]:
    screen = io.StringIO()
    ended = dataclasses.replace(ENDED, **changes)
    summary.show(ended, config=config, console=Console(file=screen, width=160))
    return [line.strip("│ ") for line in screen.getvalue().splitlines()]


def row(lines: list[str], model: str) -> list[str]:
    (cells,) = (line.split("│") for line in lines if line.startswith(f"{model} "))
    return [cell.strip() for cell in cells]


def test_the_table_has_the_models_and_the_baseline():
    lines = shown()
    assert row(lines, "baseline")[1:4] == ["0.450", "0.400 (0.20–0.60)", "0.300 (0.10–0.50)"]
    assert row(lines, "cnn")[1:4] == ["0.700", "0.600 (0.30–0.80)", "0.500 (0.20–0.70)"]
    assert row(lines, "lstm")[1:3] == ["–", "–"]
    assert row(lines, "lstm")[4] == "refused: accuracy, drop_mp3_64k"


def test_what_a_user_must_know_stands_below_the_table():
    lines = shown()
    refusal = lines.index("✗ lstm is refused:")
    assert lines[refusal + 1 : refusal + 3] == REFUSED["reasons"]
    for line in (
        "music: 14 tracks accepted, 2 files left out: 2 not audio",
        "9 tracks to train on, 2 for validation, 3 to test on (stratified split)",
        "Note: vgg16 [small] has learnt nothing.",
        "Note: 3 test tracks say little: each is 33.3 points of accuracy. Read the intervals.",
        "Note: cnn was pretrained on ImageNet (weights: keras.applications, licence: MIT).",
        "Production before this run: version 6 is cnn of this run.",
        "Waived max_ece: switched off",
        "Gate loosened: "
        + ", ".join(f"max_{letter} 1 (default 0.1)" for letter in "abcd")
        + " and 2 more",
        "Pushed version 7: cnn, in out/serving/genre/7",
        "out/report/index.html",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("pushed", "verdict"),
    [
        (ENDED.pushed | {"written": 0}, "Already in production: version 7: cnn"),
        (NOTHING_PUSHED, "Not pushed: no model passed the gate"),
        (NOTHING_PUSHED | {"reason": "it was withdrawn"}, "Not pushed: it was withdrawn"),
        (NOTHING_PUSHED | {"reason": "as good", "kept": 1}, "Kept: cnn is as good"),
    ],
)
def test_one_line_says_what_was_pushed_or_why_nothing_was(pushed, verdict):
    assert len([line for line in shown(pushed=pushed) if line.startswith(verdict)]) == 1


@pytest.mark.parametrize(
    ("level", "commands"),
    [
        ("1", ["make classify SONG=song.mp3 OUTPUT=out", "make demo OUTPUT=out", "make run DATA="]),
        (
            None,
            [
                "gatefold classify song.mp3 --output out",
                "gatefold demo --output out",
                "gatefold run --data",
            ],
        ),
    ],
)
def test_next_is_a_song_then_the_page_then_music_of_one_s_own(level, commands, monkeypatch):
    monkeypatch.delenv("MAKELEVEL", raising=False)
    if level:  # as in a recipe of make
        monkeypatch.setenv("MAKELEVEL", level)
    config = dataclasses.replace(CONFIG, data=DataConfig("sample", synthetic=True))
    lines = shown(config=config)
    following = lines[lines.index("Next:") + 1 :]
    assert len(following) == 3
    assert all(map(str.startswith, following, commands))
