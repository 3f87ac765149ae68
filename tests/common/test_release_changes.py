"""Rollback, promotion and the log: what is recorded, mended, refused and named."""

import dataclasses
import json
import multiprocessing
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


def test_every_change_is_a_line_that_names_what_it_replaced(store, base):
    one, two, three = logged(base)
    assert [line["model"] for line in (one, two, three)] == ["one", "two", "three"]
    assert [line["replaces"] for line in (one, two, three)] == [
        None,
        one["version"],
        two["version"],
    ]
    assert three["checksum"] == releases.model_checksum(store.release(three["version"]).files)
    assert_intact(base)


def test_what_is_in_production_already_adds_no_line(base, tmp_path):
    again = push(tmp_path, "three", note="other evidence")
    assert not again.written and len(logged(base)) == 3


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


def test_a_rollback_publishes_the_earlier_model_as_the_newest_version(store, base):
    _, two, three = logged(base)
    done = store.rollback()
    assert done.version > three["version"] and production(store) == "two"
    line = logged(base)[3]
    assert (line["action"], line["source"]) == ("rollback", two["version"])
    assert (line["replaces"], line["withdraws"]) == (three["version"], three["checksum"])
    assert line["checksum"] == two["checksum"]
    assert_intact(base)


def test_rolling_back_twice_passes_over_what_was_withdrawn_and_ends_at_the_first(store, base):
    store.rollback()
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


def test_a_rollback_without_an_intact_version_names_why_and_the_flag(store, base):
    one, two, _ = logged(base)
    for line in (one, two):
        (base / str(line["version"]) / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(UserError, match=rf"--to .*version {two['version']}: saved_model.pb"):
        store.rollback()


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
    "content", [b"\xff{", b"[" * 5000, b'{"a":' * 100 + b"1" + b"}" * 100, b'{"model": "\\ud800"}']
)
def test_a_release_file_that_cannot_be_read_is_named_and_hinders_nothing(
    store, base, tmp_path, content
):
    three = store.require()
    (base / str(three) / releases.RELEASE_FILE).write_bytes(content)
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


def test_a_rollback_beside_a_broken_off_push_withdraws_what_servers_answer_with(
    store, base, broken_off
):
    three = store.require()
    assert store.rollback().version == broken_off + 1 and production(store) == "two"
    assert logged(base)[3]["replaces"] == three


def test_a_push_beside_a_broken_off_push_gets_a_higher_number(store, base, broken_off, tmp_path):
    three = store.require()
    assert not push(tmp_path, "three").written
    assert push(tmp_path, "four").version == broken_off + 1
    assert logged(base)[-1]["replaces"] == three


def test_a_version_that_lost_its_model_file_is_altered_and_not_passed_over(store, base):
    three = store.require()
    (base / str(three) / "saved_model.pb").unlink()
    assert store.newest() == three
    assert any("saved_model.pb is missing" in fault for fault in faults(store))


def test_publishing_what_is_not_there_names_what_is(store, base):
    with pytest.raises(UserError, match=r"has no version 7\. It has: \d+, \d+, \d+"):
        store.promote(7)
    with pytest.raises(UserError, match="holds no versions"):
        ReleaseStore(str(base / "none")).rollback()
    assert not (base / "none").exists()


def edit(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("run-two", "run-two2"), *lines[2:]]


def edit_last(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1].replace("run-three", "run-3")]


def cut(lines: list[str]) -> list[str]:
    return [lines[0], lines[1][:40], *lines[2:]]


def nest(lines: list[str]) -> list[str]:
    return [*lines, "[" * 5000]


def surrogate(lines: list[str]) -> list[str]:
    return [*lines, lines[2].replace("run-three", "\\ud800")]


def remove(lines: list[str]) -> list[str]:
    return [*lines[:1], *lines[2:]]


@pytest.mark.parametrize("change", [edit, edit_last, cut, nest, surrogate, remove])
def test_lines_that_were_edited_are_named_and_the_next_push_works(store, base, tmp_path, change):
    log = base / releases.LOG_FILE
    intact = log.read_text().splitlines()
    log.write_text("\n".join(change(intact)))
    before = faults(store)
    assert before and all(releases.LOG_FILE in fault for fault in before)
    assert push(tmp_path, "four").written and production(store) == "four"
    assert faults(store) == before, "the edit stays visible"
    log.write_text("\n".join([*intact, log.read_text().splitlines()[-1]]) + "\n")
    assert_intact(base)


@pytest.mark.parametrize("action", ["promote", "rollback", "push"])
def test_a_forged_line_changes_nothing_and_is_named(store, base, tmp_path, action):
    """A withdrawn model stays withdrawn, and another one is not withdrawn by a line alone."""
    three = store.require()
    store.rollback()
    four = write_model(tmp_path / "four", b"four")
    forged = dataclasses.replace(
        Change(**logged(base)[2]),
        action=action,
        replaces=three,
        withdraws=releases.model_checksum(releases.checksums(four)),
    )
    with (base / releases.LOG_FILE).open("ab") as log:
        log.write(forged.line())
    (fault,) = faults(store)
    assert f"{action} of version {three}" in fault and "bear" in fault
    assert not push(tmp_path, "three").written
    assert push(tmp_path, "four").written


@pytest.mark.parametrize("forget", [Path.unlink, lambda log: log.write_bytes(b"")])
def test_a_missing_log_is_made_again_from_the_versions_which_remember_withdrawals(
    store, base, tmp_path, forget
):
    store.rollback()
    lines = logged(base)
    log = base / releases.LOG_FILE
    forget(log)
    result = store.verify(store.versions())
    assert result.faults == [] and len(result.notes) == 1
    refused = push(tmp_path, "three")
    assert "withdrawn by a rollback" in refused.refusal
    assert len(refused.remarks) == (forget is Path.unlink)
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


def test_versions_and_logs_of_earlier_gatefolds_are_served_listed_and_rolled_back_to(
    store, base, tmp_path
):
    """The oldest had no log; later ones had a chain of lines, "withdraw" before "rollback"."""
    store.rollback()
    log = base / releases.LOG_FILE
    rows = []
    for number, version in enumerate(store.versions()):
        path = base / str(version) / releases.RELEASE_FILE
        release = json.loads(path.read_text())
        (line,) = release["log"]
        own = [{**line, "sequence": number, "previous": "d41e"}]
        if withdraws := own[0].pop("withdraws"):
            withdrawn = {"action": "withdraw", "version": line["replaces"], "replaces": None}
            own.insert(0, {**own[0], **withdrawn, "checksum": withdraws})
        release["log"] = own
        del release["withdrawn"]
        if number == 0:
            del release["log"], release["evidence"]
            (base / str(version) / "assets.extra" / "report.json").unlink()
        else:
            del release["version"]  # any fact may be missing: the line's evidence is made to fit
            fitting = releases.Release(version, release).evidence_checksum
            own[-1]["evidence"] = fitting
            rows += own
        path.write_text(json.dumps(release))
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert_intact(base)
    assert [row.change.action for row in store.history()] == ["", "push", "push", "rollback"]
    assert [row.withdrawn for row in store.history()] == [False, False, True, False]
    assert "withdrawn" in push(tmp_path, "three").refusal
    store.rollback()
    assert production(store) == "one"
    assert "withdrawn" in push(tmp_path, "three").refusal
    assert_intact(base)


def test_a_kill_between_version_and_log_is_noted_and_mended_by_the_next_push(store, base, tmp_path):
    killed_in("_publish", "rollback()", str(base))
    assert production(store) == "two" and len(logged(base)) == 3
    result = store.verify(store.versions())
    assert result.faults == [] and "lacks the line" in result.notes[0]
    assert push(tmp_path, "four").written
    assert [line["action"] for line in logged(base)] == ["push"] * 3 + ["rollback", "push"]
    assert not list(base.glob(".releases-*"))
    assert_intact(base)


def test_two_runs_that_push_at_once_are_both_in_an_intact_log(tmp_path):
    names = [f"model{number}" for number in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(push_named, [(tmp_path, name) for name in names])
    assert {line["model"] for line in logged(tmp_path / "genre")} == set(names)
    assert_intact(tmp_path / "genre")


def push_named(folder: Path, name: str) -> Push:
    model = write_model(folder / name, name.encode())
    return ReleaseStore(str(folder / "genre")).push(model, release={"model": name})
