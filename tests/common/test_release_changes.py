"""Rollback, promotion and the log: what is recorded, mended, refused and named."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from components.common import releases
from components.common.errors import UserError
from components.common.releases import Change, Push, ReleaseStore
from tests.common.test_releases import assert_intact, killed_in, write_model


@pytest.fixture
def base(tmp_path) -> Path:
    """A serving folder with the models one, two and three, in this order."""
    for name in ("one", "two", "three"):
        push(tmp_path, name)
    return tmp_path / "genre"


@pytest.fixture
def store(base) -> ReleaseStore:
    return ReleaseStore(str(base))


def push(folder: Path, name: str, **facts: object) -> Push:
    model = write_model(folder / name, name.encode())
    evidence = folder / "report.json"
    evidence.write_text(json.dumps({"of": name}))
    return ReleaseStore(str(folder / "genre")).push(
        model,
        release={"model": name, "run_id": f"run-{name}", **facts},
        evidence={"assets.extra/report.json": str(evidence)},
    )


def logged(base: Path) -> list[dict]:
    return [json.loads(line) for line in (base / releases.LOG_FILE).read_text().splitlines()]


def production(store: ReleaseStore) -> str:
    """The model that servers answer with."""
    return store.release(store.require()).network


def faults(store: ReleaseStore) -> list[str]:
    return store.verify(store.versions()).faults


def test_every_change_is_a_line_that_names_what_it_replaced(store, base, tmp_path):
    one, two, three = logged(base)
    assert [line["model"] for line in (one, two, three)] == ["one", "two", "three"]
    assert [line["replaces"] for line in (one, two, three)] == [
        None,
        one["version"],
        two["version"],
    ]
    assert three["checksum"] == releases.model_checksum(store.release(three["version"]).files)
    assert not push(tmp_path, "three", note="other evidence").written
    assert len(logged(base)) == 3
    assert_intact(base)


def test_altered_evidence_is_a_fault_and_no_reason_to_push_the_model_again(store, tmp_path):
    (Path(store.folder(store.require())) / "assets.extra" / "report.json").write_text("{}")
    assert not push(tmp_path, "three").written
    (fault,) = faults(store)
    assert "assets.extra/report.json was altered" in fault


@pytest.mark.parametrize("judged", ["own", "0f" * 32])
def test_a_report_about_another_model_is_a_fault(tmp_path, judged):
    """The files are what they were at the push: only the report betrays it."""
    model = write_model(tmp_path / "one", b"one")
    own = releases.model_checksum(releases.checksums(model))
    report = tmp_path / "report.json"
    checksum = own if judged == "own" else judged
    report.write_text(json.dumps({"models": {"one": {"checksum": checksum}}}))
    store = ReleaseStore(str(tmp_path / "genre"))
    store.push(model, release={"model": "one"}, evidence={"assets.extra/report.json": str(report)})
    assert len(faults(store)) == (judged != "own")


def test_rollbacks_publish_earlier_models_as_the_newest_version_one_after_the_other(store, base):
    _, two, three = logged(base)
    done = store.rollback()
    assert done.version > three["version"] and production(store) == "two"
    line = logged(base)[3]
    assert (line["action"], line["source"]) == ("rollback", two["version"])
    assert (line["replaces"], line["withdraws"]) == (three["version"], three["checksum"])
    assert line["checksum"] == two["checksum"]
    store.rollback()
    assert production(store) == "one"
    with pytest.raises(UserError, match="no earlier intact version"):
        store.rollback()
    assert_intact(base)


def test_a_rollback_passes_over_what_cannot_be_read_and_says_so(store, base):
    _, two, _ = logged(base)
    (base / str(two["version"]) / releases.RELEASE_FILE).write_text("{")
    done = store.rollback()
    assert production(store) == "one"
    (remark,) = done.remarks
    assert f"passed over: version {two['version']}" in remark


def test_a_withdrawn_model_is_not_pushed_until_it_is_promoted(store, base, tmp_path):
    three = store.require()
    store.rollback()
    refused = push(tmp_path, "three")
    assert not refused.written and f"promote {three}" in refused.refusal
    assert production(store) == "two"
    store.promote(three)
    assert production(store) == "three"
    push(tmp_path, "one")
    assert push(tmp_path, "three").written and production(store) == "three"
    assert_intact(base)


def test_an_altered_version_is_not_published_again(store, base):
    one, *_ = logged(base)
    (base / str(one["version"]) / "saved_model.pb").write_bytes(b"other")
    for publish in (store.rollback, store.promote):
        with pytest.raises(UserError, match=r"cannot be published again.*saved_model.pb"):
            publish(one["version"])
    assert production(store) == "three" and len(logged(base)) == 3


@pytest.mark.parametrize(
    "content", [b"\xff{", b'{"a":' * 100 + b"1" + b"}" * 100, b'{"model": "\\ud800"}', None]
)
def test_a_release_file_that_cannot_be_read_is_named_and_hinders_nothing(
    store, base, tmp_path, content
):
    three = store.require()
    file = base / str(three) / releases.RELEASE_FILE
    if content:
        file.write_bytes(content)
    else:  # a pipe, which nobody writes to
        file.unlink()
        os.mkfifo(file)
    (fault,) = faults(store)
    assert fault.startswith(f"version {three}: {releases.RELEASE_FILE} cannot be read")
    checksum = logged(base)[2]["checksum"]
    assert [row.change.checksum for row in store.history()][2] == checksum
    store.rollback()
    assert production(store) == "two"
    assert logged(base)[3]["withdraws"] == checksum
    assert not push(tmp_path, "three").written, "the log still says which model it was"


@pytest.fixture
def broken_off(store, base) -> int:
    """A newer folder as a push to an object store leaves it when its process is killed."""
    number = store.require() + 1000
    write_model(base / str(number), b"four")
    (base / str(number) / "saved_model.pb").unlink()
    return number


def test_what_a_broken_off_push_left_is_no_version_and_is_named(store, broken_off):
    assert len(store.versions()) == 3 and store.require() < broken_off
    result = store.verify([broken_off])
    assert "saved_model.pb" in result.versions[broken_off][0]
    (note,) = result.notes
    assert result.log == [] and f"folder {broken_off} is no version" in note
    assert [row.in_production for row in store.history()] == [False, False, True]
    with pytest.raises(UserError, match=f"has no version {broken_off}"):
        store.promote(broken_off)


def test_beside_a_broken_off_push_changes_get_higher_numbers_and_replace_what_servers_answer_with(
    store, base, broken_off, tmp_path
):
    three = store.require()
    assert not push(tmp_path, "three").written
    assert push(tmp_path, "four").version == broken_off + 1
    assert logged(base)[3]["replaces"] == three
    assert store.rollback().version == broken_off + 2 and production(store) == "three"


def test_a_version_that_lost_its_model_file_is_altered_and_not_passed_over(store, base):
    three = store.require()
    (base / str(three) / "saved_model.pb").unlink()
    assert store.newest() == three
    assert any("saved_model.pb is missing" in fault for fault in faults(store))


def edit_last(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1].replace("run-three", "run-3")]


def cut(lines: list[str]) -> list[str]:
    return [lines[0], lines[1][:40], *lines[2:]]


@pytest.mark.parametrize("change", [edit_last, cut])
def test_lines_that_were_edited_are_named_and_the_next_push_works(store, base, tmp_path, change):
    log = base / releases.LOG_FILE
    intact = log.read_text().splitlines()
    log.write_text("\n".join(change(intact)))
    before = faults(store)
    assert before and all(releases.LOG_FILE in fault for fault in before)
    assert push(tmp_path, "four").written and production(store) == "four"
    assert faults(store) == before, "the edit stays visible"


def test_a_line_that_was_removed_is_noted_and_added_by_the_next_push(store, base, tmp_path):
    one, two, three = (base / releases.LOG_FILE).read_text().splitlines(keepends=True)
    (base / releases.LOG_FILE).write_text(one + three)
    (note,) = store.verify([]).notes
    assert str(json.loads(two)["version"]) in note
    push(tmp_path, "four")
    assert_intact(base)


def test_a_forged_line_about_a_version_changes_nothing_and_is_named(store, base, tmp_path):
    """A withdrawn model stays withdrawn, and another one is not withdrawn by a line alone."""
    three = store.require()
    store.rollback()
    four = write_model(tmp_path / "four", b"four")
    forged = dataclasses.replace(
        Change(**logged(base)[2]),
        action="promote",
        replaces=three,
        withdraws=releases.model_checksum(releases.checksums(four)),
    )
    with (base / releases.LOG_FILE).open("ab") as log:
        log.write(forged.line())
    (fault,) = faults(store)
    assert f"promote of version {three}" in fault
    assert not push(tmp_path, "three").written
    assert push(tmp_path, "four").written


def test_a_forged_line_about_a_number_out_of_reach_hinders_no_push(store, base, tmp_path):
    forged = dataclasses.replace(Change(**logged(base)[2]), version=2**63 - 1)
    with (base / releases.LOG_FILE).open("ab") as log:
        log.write(forged.line())
    assert push(tmp_path, "four").version < 2**62
    assert "says that version 9223372036854775807 is in production" in faults(store)[0]


def test_a_missing_log_is_made_again_from_the_versions_which_remember_withdrawals(
    store, base, tmp_path
):
    store.rollback()
    lines = logged(base)
    (base / releases.LOG_FILE).unlink()
    result = store.verify(store.versions())
    assert result.faults == [] and len(result.notes) == 1
    assert "withdrawn by a rollback" in push(tmp_path, "three").refusal
    assert logged(base) == lines
    assert_intact(base)


def test_withdrawals_outlive_the_folders_of_old_versions(store, base, tmp_path):
    store.rollback()
    push(tmp_path, "four")
    for version in store.versions()[:-1]:
        shutil.rmtree(base / str(version))
    assert "withdrawn" in push(tmp_path, "three").refusal
    result = store.verify(store.versions())
    assert result.faults == [] and "not there any more" in result.notes[0]
    assert [row.there for row in store.history()] == [False] * 4 + [True]


def test_a_version_that_was_put_there_by_hand_is_found(store, base):
    write_model(base / "9999999999", b"smuggled")
    (fault,) = store.verify([]).log
    assert fault.startswith("version 9999999999 is the newest")


def test_production_that_was_deleted_is_found(store, base):
    three = store.require()
    shutil.rmtree(base / str(three))
    assert any(f"says that version {three} is in production" in fault for fault in faults(store))


def test_a_kill_between_version_and_log_is_noted_and_mended_by_the_next_push(store, base, tmp_path):
    killed_in("_publish", "rollback()", str(base))
    assert production(store) == "two" and len(logged(base)) == 3
    result = store.verify(store.versions())
    assert result.faults == [] and "lacks the line" in result.notes[0]
    assert push(tmp_path, "four").written
    assert [line["action"] for line in logged(base)] == ["push"] * 3 + ["rollback", "push"]
    assert not list(base.glob(".push-*"))
    assert_intact(base)
