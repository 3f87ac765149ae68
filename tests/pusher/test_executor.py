"""Pusher: what it hands to a version as evidence, and what it says when it does not push."""

import json
from pathlib import Path

import pytest
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from components.common import releases
from components.common.artifacts import Report
from components.common.releases import ReleaseStore
from components.gate import production
from components.pusher.executor import Executor
from components.pusher.worth import BETTER, NOT_WORSE
from tests.common.test_releases import write_model

IMAGENET = {"data": "ImageNet", "weights": "keras.applications", "licence": "MIT"}


def artifact(kind, uri: Path):
    made = kind()
    made.uri = str(uri)
    return made


class Run:
    """A run that has chosen the model `name`, up to its Pusher."""

    def __init__(self, folder: Path, name: str, *, gained: int = 0) -> None:
        self.folder, self.name = folder / f"run-{name}", name
        self.gained, self.rule, self.copies, self.code = gained, NOT_WORSE, 2, "abc"
        self.base = folder / "genre"
        write_model(self.folder / "model" / "Format-Serving", name.encode())
        write(self.folder / "selection" / "selection.json", selection(name))
        for number, content in enumerate(("aa\n", "bb\n")):
            name = f"training_tracks-0000{number}-of-00002.txt"
            write(self.folder / "ingest" / name, content)
        write(self.folder / "statistics" / "Split-train" / "FeatureStats.pb", "of training")
        for file in ("model_card.md", "index.html", "ingest.html"):
            write(self.folder / "report" / file, f"{file} of {name}")
        self.judge()

    def judge(self) -> None:
        """Writes the report as the gate makes it now: against what is in production."""
        current = production.newest(str(self.base)) or production.Production()
        against = {"version": current.version, "checksum": current.checksum, "problem": ""}
        compared = {
            "tracks": 12,
            "only_candidate": self.gained,
            "only_production": 0,
            "mcnemar_p": 0.5 ** (self.gained - 1) if self.gained else 1.0,
            "log_loss_difference": [0.035, -0.1, 0.2],
            "same_model": False,
        }
        models = {self.name: {"against_production": compared if current.version else None}}
        report = {"chosen": self.name, "production": against, "models": models}
        write(self.folder / "report" / "report.json", json.dumps(report))

    def push(self) -> dict[str, object]:
        """Runs the executor; gives the outcome that it leaves."""
        ingest = artifact(Report, self.folder / "ingest")
        for split in ("train", "validation", "test"):
            ingest.set_int_custom_property(split, 3)
        blessing = artifact(standard_artifacts.ModelBlessing, self.folder / "blessing")
        blessing.set_int_custom_property("blessed", 1)
        inputs = {
            "model": [artifact(standard_artifacts.Model, self.folder / "model")],
            "model_blessing": [blessing],
            "selection": [artifact(Report, self.folder / "selection")],
            "ingest_report": [ingest],
            "report": [artifact(Report, self.folder / "report")],
            "statistics": [
                artifact(standard_artifacts.ExampleStatistics, self.folder / "statistics")
            ],
        }
        pushed = artifact(standard_artifacts.PushedModel, self.folder / "pushed")
        executor = Executor(base_executor.BaseExecutor.Context(tmp_dir=str(self.folder)))
        executor.Do(
            inputs,
            {"pushed_model": [pushed]},
            {
                "base_directory": str(self.base),
                "release": json.dumps(
                    {"copies": self.copies, "pretraining": {"cnn": [IMAGENET], "lstm": []}}
                ),
                "code": json.dumps({self.name: self.code}),
                "rule": self.rule,
                "run_id": f"id-{self.name}",
            },
        )
        outcome = json.loads((self.folder / "pushed" / "push.json").read_text())
        for name, value in outcome.items():
            number = isinstance(value, int)
            read = pushed.get_int_custom_property if number else pushed.get_string_custom_property
            assert read(name) == value
        return outcome


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def selection(name: str) -> str:
    candidate = {
        "model": name,
        "accuracy": 0.75,
        "accuracy_interval": [0.6, 0.9],
        "macro_f1": 0.5,
        "macro_f1_interval": None,
    }
    return json.dumps({"chosen": name, "candidates": [candidate]})


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path, "cnn")


def test_a_version_holds_its_evidence_and_its_training_tracks(run):
    outcome = run.push()
    assert (outcome["pushed"], outcome["written"]) == (1, 1)
    version = Path(outcome["pushed_destination"])
    extra = {path.name for path in (version / "assets.extra").iterdir()}
    assert extra == {
        "model_card.md",
        "report.json",
        "index.html",
        "ingest.html",
        "training_tracks-00000-of-00002.txt",
        "training_tracks-00001-of-00002.txt",
        "training_statistics.pb",
        "release.json",
    }
    assert (version / "assets.extra" / "training_statistics.pb").read_text() == "of training"
    found = production.newest(str(run.base))
    assert found is not None and found.training == {"aa", "bb"}
    store = ReleaseStore(str(run.base))
    (row,) = store.history()
    assert (row.change.model, row.change.run_id) == ("cnn", "id-cnn")
    assert row.release.pretraining.startswith("pretrained on ImageNet (weights: keras.app")
    assert row.release.fields["test_accuracy_interval"] == [0.6, 0.9]
    assert store.verify(store.versions()).faults == []


def test_a_later_run_with_other_evidence_pushes_the_same_model_once(run):
    first = run.push()
    run.judge()
    write(run.folder / "report" / "index.html", "another run's")
    again = run.push()
    assert (again["pushed"], again["written"]) == (1, 0)
    assert again["pushed_version"] == first["pushed_version"]


def test_a_model_that_a_rollback_withdrew_is_not_pushed_and_the_reason_is_said(tmp_path):
    good, bad = Run(tmp_path, "good"), Run(tmp_path, "bad")
    good.push()
    bad.judge()
    bad.push()
    store = ReleaseStore(str(good.base))
    store.rollback()
    refused = bad.push()
    assert (refused["pushed"], refused["written"]) == (0, 0)
    assert "withdrawn by a rollback" in refused["reason"]
    assert "pushed_version" not in refused
    assert store.release(store.require()).network == "good"


def test_of_two_runs_that_judged_at_the_same_time_the_second_is_not_pushed(tmp_path):
    one, two = Run(tmp_path, "one"), Run(tmp_path, "two")
    first = one.push()
    refused = two.push()
    assert (refused["pushed"], refused["written"]) == (0, 0)
    assert f"version {first['pushed_version']} is in production" in refused["reason"]
    assert ReleaseStore(str(two.base)).versions() == [int(first["pushed_version"])]
    two.judge()
    assert two.push()["written"] == 1


def test_a_rollback_between_judging_and_pushing_stops_the_push(tmp_path):
    one, two, three = (Run(tmp_path, name) for name in ("one", "two", "three"))
    one.push()
    two.judge()
    two.push()
    three.judge()
    ReleaseStore(str(three.base)).rollback()
    assert "run again, and they are compared with it" in three.push()["reason"]


def test_the_same_model_under_a_new_number_is_still_what_was_judged_against(tmp_path):
    one, two = Run(tmp_path, "one"), Run(tmp_path, "two")
    version = one.push()["pushed_version"]
    two.judge()
    (two.base / version).rename(two.base / str(int(version) + 1))
    assert two.push()["written"] == 1


def test_a_baseline_that_cannot_be_read_does_not_stop_a_push(tmp_path):
    Run(tmp_path, "one").push()
    two = Run(tmp_path, "two")
    newest = ReleaseStore(str(two.base)).require()
    (two.base / str(newest) / releases.RELEASE_FILE).write_bytes(b"\xff\xfe[")
    two.judge()
    assert two.push()["written"] == 1


def other(run: Run, **changes) -> Run:
    """A later run with another network for the same music, by the rule `better`."""
    later = Run(run.folder.parent, "lstm", gained=changes.pop("gained", 0))
    later.rule = BETTER
    for name, value in changes.items():
        setattr(later, name, value)
    return later


@pytest.mark.parametrize(
    ("changes", "pushed"),
    [
        ({}, 0),
        ({"gained": 3}, 0),  # p = 0.125 of 12 tracks
        ({"gained": 4}, 1),
        ({"rule": NOT_WORSE}, 1),
        ({"copies": 3}, 1),
        ({"code": "another"}, 0),  # of another network, so that it says nothing
    ],
)
def test_a_model_that_is_as_good_does_not_replace_production(run, changes, pushed):
    run.push()
    outcome = other(run, **changes).push()
    assert outcome["pushed"] == pushed
    assert len(ReleaseStore(str(run.base)).versions()) == 1 + pushed
    if not pushed:
        assert outcome["kept"] == 1
        assert str(outcome["reason"]).startswith("as good as production: of 12 tracks")


def test_other_training_tracks_or_other_code_of_the_same_network_replace_production(run):
    run.push()
    later = other(run)
    write(later.folder / "ingest" / "training_tracks-00000-of-00002.txt", "cc\n")
    later.judge()
    assert later.push()["pushed"] == 1
    again = Run(run.folder.parent / "again", "lstm")
    again.base, again.rule, again.code = run.base, BETTER, "another"
    again.folder.joinpath("model/Format-Serving/saved_model.pb").write_bytes(b"retrained")
    write(again.folder / "ingest" / "training_tracks-00000-of-00002.txt", "cc\n")
    again.judge()
    assert again.push()["pushed"] == 1


def test_a_damaged_list_of_training_tracks_is_mended_by_a_push(run):
    version = Path(run.push()["pushed_destination"])
    (version / "assets.extra" / "training_tracks-00000-of-00002.txt").write_bytes(b"\xff\xfe")
    later = other(run)
    later.judge()
    assert later.push()["pushed"] == 1
