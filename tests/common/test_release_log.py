"""The release log, rollback and promotion: what is recorded, mended and refused."""

import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.common import release_log, releases
from components.common.errors import UserError
from components.common.release_check import log_faults, version_faults
from components.common.release_history import history
from tests.common.test_releases import assert_intact, write_model
from tests.conftest import ROOT


@pytest.fixture
def base(tmp_path) -> Path:
    """A serving folder with the models one, two and three, in this order."""
    folder = tmp_path / "genre"
    for name in ("one", "two", "three"):
        push(tmp_path, name)
    return folder


def push(folder: Path, name: str, **facts: object) -> releases.Push:
    model = write_model(folder / name, name.encode())
    evidence = folder / "report.json"
    evidence.write_text(json.dumps({"of": name}))
    return releases.push(
        model,
        str(folder / "genre"),
        release={"model": name, "run_id": f"run-{name}", **facts},
        evidence={"assets.extra/report.json": str(evidence)},
    )


def entries(base: Path) -> list[release_log.Entry]:
    return [entry for entry in release_log.read(str(base)).entries if entry is not None]


def production(base: Path) -> str:
    """The model that servers answer with."""
    return releases.read_release(f"{base}/{max(releases.versions(str(base)))}")["model"]


def faults(base: Path) -> list[str]:
    log = release_log.read(str(base))
    versions = releases.versions(str(base))
    found = [fault for version in versions for fault in version_faults(str(base), version, log)]
    return found + log_faults(str(base), log)[0]


def test_every_push_is_a_line_that_names_what_it_replaced(base):
    one, two, three = entries(base)
    assert [entry.model for entry in (one, two, three)] == ["one", "two", "three"]
    assert [entry.replaces for entry in (one, two, three)] == [None, one.version, two.version]
    assert {entry.action for entry in (one, two, three)} == {"push"}
    assert three.run_id == "run-three" and three.evidence
    files = releases.read_release(f"{base}/{three.version}")["files"]
    assert three.checksum == releases.model_checksum(files)
    assert_intact(base)


def test_what_is_in_production_already_adds_no_line(base, tmp_path):
    again = push(tmp_path, "three", note="other evidence")
    assert not again.written and len(entries(base)) == 3


def test_altered_evidence_is_a_fault_and_no_reason_to_push_the_model_again(base, tmp_path):
    newest = base / str(max(releases.versions(str(base))))
    (newest / "assets.extra" / "report.json").write_text("{}")
    assert not push(tmp_path, "three").written
    (fault,) = faults(base)
    assert "assets.extra/report.json was altered" in fault


def test_a_report_about_another_model_is_a_fault(tmp_path):
    """The files are what they were at the push: only the report betrays it."""
    own = releases.model_checksum(releases.checksums(write_model(tmp_path / "one", b"one")))
    for checksum, expected in ((own, []), ("0f" * 32, ["report.json is about another model"])):
        report = tmp_path / "report.json"
        report.write_text(json.dumps({"models": {"one": {"checksum": checksum}}}))
        base = str(tmp_path / checksum[:4])
        done = releases.push(
            str(tmp_path / "one"),
            base,
            release={"model": "one"},
            evidence={"assets.extra/report.json": str(report)},
        )
        found = version_faults(base, done.version, release_log.read(base))
        assert len(found) == len(expected)
        assert all(words in fault for words, fault in zip(expected, found, strict=True))


def test_a_rollback_publishes_the_earlier_model_as_the_newest_version(base):
    _, two, three = entries(base)
    done = releases.rollback(str(base))
    assert done.version > three.version
    assert production(base) == "two"
    withdrawn, rolled_back = entries(base)[3:]
    assert (withdrawn.action, withdrawn.version) == ("withdraw", three.version)
    assert (rolled_back.action, rolled_back.source) == ("rollback", two.version)
    assert rolled_back.checksum == two.checksum
    assert_intact(base)


def test_rolling_back_twice_passes_over_what_was_withdrawn_and_ends_at_the_first(base):
    releases.rollback(str(base))
    releases.rollback(str(base))
    assert production(base) == "one"
    with pytest.raises(UserError, match="no earlier version"):
        releases.rollback(str(base))
    assert_intact(base)


def test_a_withdrawn_model_is_not_pushed_until_it_is_promoted(base, tmp_path):
    releases.rollback(str(base))
    refused = push(tmp_path, "three")
    assert not refused.written and "promote" in refused.refusal
    assert production(base) == "two"
    three = entries(base)[2]
    releases.promote(str(base), three.version)
    assert production(base) == "three"
    push(tmp_path, "one")
    assert push(tmp_path, "three").written and production(base) == "three"
    assert_intact(base)


def test_an_altered_version_is_not_published_again(base):
    one, *_ = entries(base)
    (base / str(one.version) / "saved_model.pb").write_bytes(b"other")
    for publish in (
        lambda: releases.rollback(str(base), to=one.version),
        lambda: releases.promote(str(base), one.version),
    ):
        with pytest.raises(UserError, match=r"cannot be published again.*saved_model.pb"):
            publish()
    assert production(base) == "three" and len(entries(base)) == 3


def test_a_version_in_production_with_a_broken_release_file_can_be_rolled_back(base):
    newest = base / str(max(releases.versions(str(base))))
    (newest / releases.RELEASE_FILE).write_bytes(b"\xff{")
    releases.rollback(str(base))
    assert production(base) == "two"
    assert entries(base)[3].checksum == entries(base)[2].checksum


@pytest.fixture
def broken_off(base) -> int:
    """A newer folder as a push to an object store leaves it when its process is killed."""
    number = max(releases.versions(str(base))) + 1000
    write_model(base / str(number), b"four")
    (base / str(number) / "saved_model.pb").unlink()
    return number


def test_what_a_broken_off_push_left_is_no_version_and_is_named(base, broken_off):
    versions = releases.versions(str(base))
    assert len(versions) == 3 and releases.newest_version(str(base)) == versions[-1] < broken_off
    log = release_log.read(str(base))
    (note,) = log_faults(str(base), log)[1]
    assert faults(base) == [] and f"folder {broken_off} is no version" in note
    assert "saved_model.pb" in version_faults(str(base), broken_off, log)[0]
    assert [row.version for row in history(str(base), log) if row.in_production] == [versions[-1]]
    with pytest.raises(UserError, match=f"has no version {broken_off}"):
        releases.promote(str(base), broken_off)


def test_a_rollback_withdraws_what_servers_answer_with_and_not_a_broken_off_push(base, broken_off):
    _, two, three = entries(base)
    done = releases.rollback(str(base))
    assert done.version == broken_off + 1 and production(base) == "two"
    withdrawn, rolled_back = entries(base)[3:]
    assert withdrawn.version == rolled_back.replaces == three.version
    assert rolled_back.source == two.version


def test_beside_a_broken_off_push_the_same_model_stays_and_another_gets_a_higher_number(
    base, broken_off, tmp_path
):
    assert not push(tmp_path, "three").written
    assert push(tmp_path, "four").version == broken_off + 1
    assert entries(base)[-1].replaces == entries(base)[-2].version


def test_a_version_that_lost_its_model_file_is_altered_and_not_passed_over(base):
    three = entries(base)[2]
    (base / str(three.version) / "saved_model.pb").unlink()
    assert releases.newest_version(str(base)) == three.version
    assert any("saved_model.pb is missing" in fault for fault in faults(base))


def test_publishing_what_is_not_there_names_what_is(base):
    with pytest.raises(UserError, match=r"has no version 7\. It has: \d+, \d+, \d+"):
        releases.promote(str(base), 7)
    with pytest.raises(UserError, match="holds no versions"):
        releases.rollback(str(base / "none"))


def edit(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("run-two", "run-two2"), *lines[2:]]


def edit_last(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1].replace("run-three", "run-3")]


def swap(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], *lines[2:]]


def garble(lines: list[str]) -> list[str]:
    return [lines[0], lines[1][:40], *lines[2:]]


def add_key(lines: list[str]) -> list[str]:
    return [lines[0], json.dumps({**json.loads(lines[1]), "more": 1}), *lines[2:]]


def test_lines_that_were_edited_are_found(base):
    log = base / releases.LOG_FILE
    intact = log.read_text().splitlines()
    for change in (edit, edit_last, swap, garble, add_key, lambda lines: lines[1:]):
        log.write_text("".join(f"{line}\n" for line in change(intact)))
        assert faults(base), change
    for kept in (0, 1):
        log.write_text("".join(f"{line}\n" for line in intact[:kept]))
        assert any("lines were removed" in fault for fault in faults(base))
    log.write_text("".join(f"{line}\n" for line in intact))
    assert faults(base) == []


def test_after_an_edit_of_the_log_the_next_push_works_and_the_edit_stays_visible(base, tmp_path):
    log = base / releases.LOG_FILE
    log.write_text("\n".join(edit(log.read_text().splitlines())) + "\n")
    before = faults(base)
    assert push(tmp_path, "four").written
    assert production(base) == "four" and faults(base) == before


def test_a_version_that_was_put_there_by_hand_is_found(base, tmp_path):
    write_model(base / "9999999999", b"smuggled")
    (fault,) = log_faults(str(base), release_log.read(str(base)))[0]
    assert fault.startswith("version 9999999999 is the newest")


def test_production_that_was_deleted_is_found_and_older_versions_may_go(base):
    one, _, three = entries(base)
    shutil.rmtree(base / str(one.version))
    assert faults(base) == []
    shutil.rmtree(base / str(three.version))
    assert any(f"says that version {three.version} is in production" in it for it in faults(base))


def test_versions_older_than_the_log_are_served_listed_and_rolled_back_to(tmp_path):
    old = push(tmp_path, "one")
    base = tmp_path / "genre"
    (base / releases.LOG_FILE).unlink()
    path = base / str(old.version) / releases.RELEASE_FILE
    release = json.loads(path.read_text())
    del release["log"], release["evidence"]
    (base / str(old.version) / "assets.extra" / "report.json").unlink()
    path.write_text(json.dumps(release))
    assert log_faults(str(base), release_log.read(str(base)))[0] == []
    assert not push(tmp_path, "one").written
    push(tmp_path, "two")
    releases.rollback(str(base))
    assert production(base) == "one"
    assert_intact(base)


def test_a_kill_between_version_and_log_is_said_and_mended_by_the_next_push(base, tmp_path):
    code = (
        "import os, signal, sys\n"
        "from components.common import release_writing, releases\n"
        "publish = release_writing._publish\n"
        "def publish_and_die(staging, target):\n"
        "    publish(staging, target)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "release_writing._publish = publish_and_die\n"
        "releases.rollback(sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(base)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert production(base) == "two" and len(entries(base)) == 3
    log = release_log.read(str(base))
    wrong, (note,) = log_faults(str(base), log)
    assert wrong == [] and "was killed before" in note
    assert push(tmp_path, "four").written
    actions = [entry.action for entry in entries(base)]
    assert actions == ["push"] * 3 + ["withdraw", "rollback", "push"]
    assert not list(base.glob(".releases-*"))
    assert_intact(base)


def push_named(folder: str, name: str) -> releases.Push:
    return releases.push(f"{folder}/{name}", f"{folder}/genre", release={"model": name})


def test_two_runs_that_push_at_once_are_both_in_an_intact_log(tmp_path):
    names = [f"model{number}" for number in range(4)]
    for name in names:
        write_model(tmp_path / name, name.encode())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(push_named, [(str(tmp_path), name) for name in names])
    base = tmp_path / "genre"
    assert sorted(entry.version for entry in entries(base)) == sorted(one.version for one in done)
    assert {entry.model for entry in entries(base)} == set(names)
    assert_intact(base)
