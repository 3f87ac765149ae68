"""The gate over real artifacts: a model that is bad in one way is refused for that reason.

The models are SavedModels, asked by Predictions about tracks that DeformedExamples deformed, and
served by ServingCheck.
"""

import dataclasses
import shutil
from pathlib import Path

import pytest

from components.common import answers
from components.common.artifacts import Report
from components.common.releases import ReleaseStore
from components.gtzan.genres import GENRES
from components.release_report.model_card import escape_markdown
from tests.gate import tone_world
from tests.gate.after_gate import finish
from tests.gate.conftest import GATE
from tests.gate.tone_world import Listener, artifact


def failed(report: dict, name: str = "m") -> dict[str, str]:
    """The gates that a model failed, with their details; it is blessed if there is none."""
    judged = report["models"][name]
    rows = {row["gate"]: row["detail"] for row in judged["gates"] if not row["passed"]}
    assert judged["blessed"] == (not rows)
    return rows


GOOD = Listener()
HONEST = Listener(shift=0.3, confidence=0.75)  # right on three of four tracks, and as sure
# Each is bad in one way: the model, the gates that name it, and what the gate has to be told.
BAD = {
    "rock": (
        Listener(always="rock"),
        {"accuracy", "macro_f1", "top_3_accuracy", "genre_recall", "baseline"},
        {},
    ),
    "forgetful": (Listener(forgets="jazz"), {"genre_recall"}, {}),
    # Right on the same three of four tracks as the honest model, and sure of all of them.
    "sure": (Listener(shift=0.3, confidence=0.999), {"calibration"}, {}),
    "bits": (Listener(reads_low_bits=True), {"drop_mp3_64k", "changed_mp3_64k"}, {}),
    # Five billion operations: no machine does them in a thousandth of a second.
    "slow": (Listener(rounds=20), {"latency"}, {"max_latency_seconds": 0.001}),
}
# What else may fail: always rock is badly calibrated, too, and the samples' low bits are lost by
# every deformation but the first ten seconds, which are all of these tracks.
ALSO = {"rock": ("calibration", "loss_"), "bits": ("drop_", "changed_", "loss_")}


def bad(world, name: str) -> dict:
    return world.candidate(name, BAD[name][0], served=name == "slow")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_is_not_pushed_and_the_reason_is_on_screen_in_report_and_mlflow(
    world, good, name, tmp_path
):
    _, gates, changes = BAD[name]
    serving = tmp_path / "genre"
    released = ReleaseStore(str(serving)).push(saved(good), release={"model": "good"})
    before = contents(serving)
    report = world.judge(
        {"m": bad(world, name)}, gate=dataclasses.replace(GATE, **changes), serving=serving
    )
    rows = failed(report)
    assert gates <= set(rows)
    besides = {gate for gate in set(rows) - gates if not gate.startswith("production_")}
    assert all(gate.startswith(ALSO.get(name, ())) for gate in besides)
    assert "drop_first_10s" not in rows
    titles = [row["title"] for row in report["models"]["m"]["gates"] if not row["passed"]]
    ended = finish(world, {"m": bad(world, name)}, serving, tmp_path / "run")
    assert ended.summary.pushed_to == ""  # so that the runner ends with exit code 2
    assert contents(serving) == before
    assert ReleaseStore(str(serving)).versions() == [released.version]
    assert "m is refused:" in ended.screen and "Not pushed: no model passed" in ended.screen
    for failing in titles:
        assert f"    {failing}: " in ended.screen
        assert failing in ended.tags["m"]["gate.reasons"]
        row = ended.page.partition(f'rowheader">{failing}')[2].partition("</tr>")[0]
        assert "failed" in row
        assert f"| {escape_markdown(failing)} | " in ended.card
    assert ended.tags["m"]["gate"] == ended.tags["pipeline"]["gate"] == "refused"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that a server or a person sees in a serving folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def saved(candidate: dict) -> str:
    return f"{candidate['model'].uri}/Format-Serving"


def test_what_was_not_judged_or_waived_is_not_called_passed(world, good, tmp_path):
    """Production knows other genres, and the run waives the comparison."""
    GOOD.save(tmp_path / "old", (*GENRES[:-1], "polka"))
    ReleaseStore(str(tmp_path / "genre")).push(str(tmp_path / "old"), release={"model": "old"})
    many = dataclasses.replace(GATE, min_tracks=1000)
    world.judge({"m": good}, gate=many, serving=tmp_path / "genre", replace_incompatible=True)
    ended = finish(world, {"m": good}, tmp_path / "genre", tmp_path / "run")
    assert ended.summary.pushed["written"]
    for title, words in (
        ("Accuracy against production", "waived"),
        ("Log loss against production", "waived"),
        ("Lowest recall of a genre", "not judged"),
        ("Accuracy", "passed"),
    ):
        row = ended.page.partition(f'rowheader">{title}<')[2].partition("</tr>")[0]
        assert f"</svg>{words}</span>" in row
        gates = ended.card.partition("### Gates")[2].splitlines()
        (row,) = (line for line in gates if line.startswith(f"| {title} | "))
        assert row.endswith(f"| {words} |")
    assert "Gate loosened: min_tracks 1000 (default 8)" in ended.screen
    assert "min_tracks: 1000 instead of 8" in ended.tags["pipeline"]["gate.loosened"]
    assert "min_tracks is 1000 (default 8)" in ended.page


def test_a_good_model_is_blessed_with_every_figure(world, good):
    report = world.judge({"m": good})
    assert failed(report) == {}
    judged = report["models"]["m"]
    assert judged["figures"]["accuracy"]["value"] == 1.0
    assert {one["slice"] for one in judged["slices"]} == {
        "genre", "loudness", "bandwidth", "source_sample_rate"
    }  # fmt: skip
    assert len(judged["robustness"]) == 6
    assert len(judged["checksum"]) == 64
    assert judged["latency"]["p95_ms"] > 0 and judged["latency"]["memory_bytes"] > 1 << 20
    assert report["production"] == {
        "version": None,
        "model": "",
        "checksum": "",
        "compared": False,
        "note": "nothing is in production yet",
        "problem": "",
        "tracks": 0,
        "left_out": 0,
    }
    leaks = [one for one in tone_world.NEAR_DUPLICATES if one["across_splits"]]
    assert report["leakage"] == {"pairs": 700, "across_splits": 600, "near_duplicates": leaks}
    assert report["baseline"]["figures"]["accuracy"]["value"] == 0.5
    assert report["run_id"] == "run"
    assert report["tracks"] == {"train": 80, "validation": 20, "test": 40}
    assert {one["gate"] for one in report["waivers"]} == {
        "max_latency_ratio",
        "max_latency_seconds",
    }


def test_an_honest_model_that_is_wrong_on_a_quarter_of_the_tracks_is_blessed(world, good):
    honest = world.candidate("honest", HONEST)
    report = world.judge({"m": honest})
    assert failed(report) == {}
    assert report["models"]["m"]["figures"]["accuracy"]["value"] == 0.75


@pytest.mark.parametrize(
    ("kind", "gates"),
    [
        ("answers", {"answers", "accuracy", "drop_mp3_64k", "calibration", "baseline"}),
        ("evaluation", {"evaluation", "slices"}),
        ("serving_check", {"serving", "memory"}),
        ("baseline_answers", {"baseline"}),
    ],
)
def test_evidence_that_is_not_there_refuses_by_name(world, good, kind, gates, tmp_path):
    nothing = artifact(Report, tmp_path)
    if kind == "baseline_answers":
        rows = failed(world.judge({"m": good}, baseline_answers=[nothing]))
    else:
        rows = failed(world.judge({"m": {**good, kind: nothing}}))
    assert gates <= set(rows)
    for gate in gates - {"answers"}:
        assert "not computed" in rows[gate]


def without_an_answer(made: dict, folder: Path) -> tuple[dict, str]:
    """A candidate's artifacts with answers that lack one track, and that track."""
    copied = shutil.copytree(made["answers"].uri, folder / "answers")
    clean = answers.read(str(copied), answers.CLEAN)
    clean.probabilities[3] = float("nan")
    answers.write(str(copied), answers.CLEAN, clean)
    return {**made, "answers": artifact(Report, copied)}, clean.track_ids[3]


def test_a_track_without_an_answer_refuses_and_is_named(world, good, tmp_path):
    holed, track = without_an_answer(good, tmp_path)
    report = world.judge({"m": holed})
    rows = failed(report)
    assert {"answers", "accuracy", "macro_f1", "calibration", "baseline"} <= set(rows)
    assert track in rows["answers"]
    assert report["models"]["m"]["figures"]["accuracy"] == {"value": None, "interval": None}
