"""`python -m serving.release`: what was in production when, going back, and what was altered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.common import releases
from components.common.releases import ReleaseStore
from serving.release import main
from tests.common.test_releases import write_model
from tests.conftest import ROOT


@pytest.fixture
def base(tmp_path) -> Path:
    """`output/serving/genre` with the models one and two[bold], whose name looks like markup."""
    folder = tmp_path / "output" / "serving" / "genre"
    for name in ("one", "two[bold]"):
        model = write_model(tmp_path / name, name.encode())
        facts = {"model": name, "run_id": f"run-{name}", "test_accuracy": 0.75}
        ReleaseStore(str(folder)).push(model, release=facts)
    return folder


def command(base: Path, *arguments: str) -> int:
    return main([*arguments, "--base", str(base)])


def read_json(base: Path, capsys, *arguments: str):
    command(base, *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_list_says_from_when_to_when_each_version_was_in_production(base, capsys):
    assert main(["list", "--output", str(base.parents[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "one" in lines[1] and "0.750" in lines[1] and " now " not in lines[1]
    assert "two[bold]" in lines[2] and "now" in lines[2] and "in production" in lines[2]
    first, second = read_json(base, capsys, "list")
    assert first["production_to"] == second["production_from"]
    assert (first["in_production"], second["in_production"]) == (False, True)


def test_rollback_and_promote_are_listed_and_shown(base, capsys):
    one, two = ReleaseStore(str(base)).versions()
    assert command(base, "rollback") == 0
    assert f"Version {two} was withdrawn" in capsys.readouterr().out
    rows = {row["version"]: row for row in read_json(base, capsys, "list")}
    newest = max(rows)
    assert (rows[newest]["model"], rows[newest]["source"]) == ("one", one)
    assert rows[two]["withdrawn"]
    shown = read_json(base, capsys, "show", str(two))
    assert shown["release"]["model"] == "two[bold]" and shown["history"]["withdrawn"]
    assert (shown["log"][-1]["replaces"], shown["log"][-1]["action"]) == (two, "rollback")
    assert command(base, "promote", str(two)) == 0
    capsys.readouterr()
    assert not any(row["withdrawn"] for row in read_json(base, capsys, "list"))
    assert command(base, "promote", str(two)) == 0
    assert "in production already" in capsys.readouterr().out
    assert command(base, "verify", "--all") == 0


def test_verify_names_the_altered_file_and_the_edited_line(base, capsys):
    one, two = ReleaseStore(str(base)).versions()
    assert command(base, "verify") == 0
    assert f"version {two} is what was released" in capsys.readouterr().out
    (base / str(one) / "variables" / "variables.index").write_bytes(b"other")
    assert command(base, "verify") == 0, "only the version in production was asked for"
    assert command(base, "verify", "--all") == command(base, "verify", str(one)) == 1
    assert f"version {one}: variables/variables.index was altered" in capsys.readouterr().out
    log = base / releases.LOG_FILE
    log.write_text(log.read_text().replace("run-one", "run-eno"))
    assert command(base, "verify") == 1
    assert f"releases.jsonl says push of version {one}" in capsys.readouterr().out
    report = read_json(base, capsys, "verify", "--all")
    assert not report["ok"] and report["intact"] == [two]


def test_a_release_file_with_another_accuracy_is_found(base, capsys):
    newest = base / str(ReleaseStore(str(base)).require()) / releases.RELEASE_FILE
    newest.write_text(newest.read_text().replace("0.75", "0.99"))
    assert command(base, "verify") == 1
    assert "assets.extra/release.json" in capsys.readouterr().out


def test_what_cannot_be_done_is_one_sentence(base, capsys):
    for arguments in (["show", "7"], ["promote", "7"], ["rollback", "--to", "7"]):
        assert command(base, *arguments) == 2
        error = capsys.readouterr().err
        assert "has no version 7" in error and error.count("\n") == 1
    assert command(base, "verify", "7") == 1
    assert "version 7 is not there" in capsys.readouterr().out
    (base / releases.LOG_FILE).unlink()
    (base / releases.LOG_FILE).mkdir()
    assert command(base, "list") == 2
    assert "not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["", "--json"])
def test_a_reader_that_goes_away_ends_it_quietly(base, flag):
    listing = f"{sys.executable} -m serving.release list {flag} --base {base}"
    done = subprocess.run(
        ["bash", "-c", f"{listing} | true"], cwd=ROOT, check=True, capture_output=True
    )
    assert done.stderr == b""


def test_it_starts_without_tensorflow(base):
    code = (
        "import sys\n"
        "from serving.release import main\n"
        "main(['list', '--base', sys.argv[1]])\n"
        "assert not {'tensorflow', 'tfx', 'grpc'} & sys.modules.keys()"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(base)], cwd=ROOT, check=True, capture_output=True
    )
    assert command(base / "none", "list") == 2
