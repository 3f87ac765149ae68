"""The end of a run: the baseline is a row like any model, and a refusal names gates and figures."""

import io

from rich.console import Console

from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import summary
from pipeline.local.summary import Summary

CONFIG = PipelineConfig(DataConfig("music"), output="out", models=("cnn",))


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
    reasons=[
        "Accuracy: not computed: [the disk] burnt",
        "Drop in accuracy: MP3 at 64 kbit/s: 0.500 (0.20 to 0.70), at most 0.100 is needed",
    ],
)


def shown(**changes) -> list[str]:
    ended = Summary(
        split_sizes={"train": 9, "validation": 2, "test": 3},
        files="14 tracks accepted, no file left out",
        candidates=[candidate("cnn"), REFUSED],
        chosen="cnn",
        pushed_to="out/serving/genre/7",
        pushed_version="7",
        written=True,
        report_page="ingest.html",
        baseline={
            "figures": {
                "accuracy": {"value": 0.4, "interval": [0.2, 0.6]},
                "macro_f1": {"value": 0.3, "interval": [0.1, 0.5]},
            },
            "validation": {"accuracy": 0.45},
        },
        production="version 6 is cnn of this run",
    )
    screen = io.StringIO()
    values = {**vars(ended), **changes}
    summary.show(Summary(**values), config=CONFIG, console=Console(file=screen, width=160))
    return screen.getvalue().splitlines()


def line(lines: list[str], begins: str) -> str:
    (found,) = (one for one in lines if one.lstrip("│ ").startswith(begins))
    return found


def test_the_baseline_is_a_row_of_the_table():
    row = line(shown(), "baseline")
    assert "0.450" in row and "0.400 (0.20–0.60)" in row and "0.300 (0.10–0.50)" in row


def test_a_refused_model_is_named_with_its_gates_and_why():
    lines = shown()
    assert "refused: accuracy, drop_mp3_64k" in line(lines, "lstm  ")
    start = lines.index("✗ lstm is refused:")
    assert [one.strip() for one in lines[start + 1 : start + 3]] == REFUSED["reasons"]
    assert "✗ cnn is refused:" not in lines
    assert line(lines, "Pushed version 7: cnn")
    assert "  out/report/index.html" in lines


def test_production_and_waivers_are_said():
    lines = shown(waivers=("max_ece: switched off in the gate's settings",))
    assert "Production before this run: version 6 is cnn of this run." in lines
    assert "Waived max_ece: switched off in the gate's settings" in lines


def test_a_gate_that_was_opened_is_said_in_one_line():
    names = tuple(f"max_{letter} 1 (default 0.1)" for letter in "abcdef")
    row = line(shown(loosened=names), "Gate loosened: ")
    assert row.endswith("max_d 1 (default 0.1) and 2 more")
    assert not any("loosened" in one for one in shown())


def test_nothing_pushed_says_why():
    nothing = {"pushed_to": "", "written": False}
    assert line(shown(**nothing, chosen=None), "Not pushed: no model passed the gate")
    withdrawn = "this model was withdrawn by a rollback"
    assert line(shown(**nothing, refusal=withdrawn), f"Not pushed: {withdrawn}")


def test_what_trainers_have_to_say_stands_below_the_table():
    lines = shown(remarks=("vgg16 [small] has learnt nothing",))
    assert "Note: vgg16 [small] has learnt nothing." in lines
