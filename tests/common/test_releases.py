"""Pushing: what is said to be in production is there, byte for byte, and never half."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from components.common import release_log, release_writing, releases
from components.common.errors import UserError
from components.common.release_check import log_faults, version_faults
from tests.conftest import ROOT


@pytest.fixture
def model(tmp_path) -> str:
    return write_model(tmp_path / "model", b"one")


def write_model(folder: Path, content: bytes) -> str:
    for name in ("saved_model.pb", "variables/variables.index", "assets/genres.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() + content)
    return str(folder)


def push(model: str, base: Path) -> releases.Push:
    return releases.push(model, str(base), release={"model": "cnn"})


def shown(base: Path) -> list[str]:
    """The versions, and whatever else is visible beside them and the log."""
    hidden = {releases.LOG_FILE}
    names = {path.name for path in base.iterdir() if not path.name.startswith(".")}
    return sorted(names - hidden)


def assert_intact(base: Path) -> None:
    """The log is whole and agrees with the versions; the newest is what was released."""
    log = release_log.read(str(base))
    assert log_faults(str(base), log) == ([], [])
    assert version_faults(str(base), max(releases.versions(str(base))), log) == []


def test_a_version_holds_the_model_and_its_release_file(model, tmp_path):
    done = push(model, tmp_path / "genre")
    assert done.written
    version = tmp_path / "genre" / str(done.version)
    assert (version / "variables" / "variables.index").read_bytes().endswith(b"one")
    release = json.loads((version / releases.RELEASE_FILE).read_text())
    assert release["model"] == "cnn" and release["version"] == done.version
    assert release["files"] == releases.checksums(model)


def test_the_same_model_is_pushed_once(model, tmp_path):
    base = tmp_path / "genre"
    first = push(model, base)
    again = push(model, base)
    assert (again.version, again.written) == (first.version, False)
    assert shown(base) == [str(first.version)]


def tamper(version: Path) -> None:
    (version / "variables" / "variables.index").write_bytes(b"other")


def truncate(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"")


def add(version: Path) -> None:
    (version / "assets" / "more.txt").write_text("not of this model")


def forget(version: Path) -> None:
    (version / releases.RELEASE_FILE).unlink()


def garble(version: Path) -> None:
    (version / releases.RELEASE_FILE).write_text("[")


@pytest.mark.parametrize("harm", [shutil.rmtree, tamper, truncate, add, forget, garble])
def test_what_was_deleted_or_altered_is_pushed_again_as_a_newer_version(model, tmp_path, harm):
    base = tmp_path / "genre"
    first = push(model, base)
    harm(Path(first.path))
    second = push(model, base)
    assert second.written
    assert releases.checksums(second.path) == releases.checksums(model)
    assert second.version == max(releases.versions(str(base)))


def test_a_model_that_another_replaced_is_pushed_again(tmp_path):
    one, two = (write_model(tmp_path / name, name.encode()) for name in ("one", "two"))
    base = tmp_path / "genre"
    versions = [push(model, base).version for model in (one, two, one)]
    assert versions == sorted(set(versions))
    assert releases.checksums(str(base / str(versions[-1]))) == releases.checksums(one)


def test_a_push_that_was_killed_leaves_no_version_and_the_next_one_works(model, tmp_path):
    """SIGKILL while files are being copied."""
    base = tmp_path / "genre"
    code = (
        "import os, signal, sys\n"
        "from components.common import release_writing, releases\n"
        "copy = release_writing._copy_local\n"
        "def copy_and_die(source, target):\n"
        "    copy(source, target)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "release_writing._copy_local = copy_and_die\n"
        "releases.push(sys.argv[1], sys.argv[2], release={})\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, model, str(base)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(base.glob(".push-*/")) and shown(base) == []
    done = push(model, base)
    assert done.written and shown(base) == [str(done.version)]
    assert not list(base.glob(".push-*/"))


def test_two_simultaneous_pushes_write_one_version(model, tmp_path):
    base = tmp_path / "genre"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(push, [(model, base)] * 4)
    assert sum(one.written for one in done) == 1
    assert len(shown(base)) == 1


def test_a_version_is_invisible_until_it_is_complete(model, tmp_path, monkeypatch):
    base = tmp_path / "genre"
    seen = []
    copy = release_writing._copy_local

    def copy_and_look(source: str, target: Path) -> None:
        copy(source, target)
        seen.append(shown(base))

    monkeypatch.setattr(release_writing, "_copy_local", copy_and_look)
    push(model, base)
    assert seen == [[]] * 3


def test_a_new_version_is_newer_even_if_the_clock_went_back(model, tmp_path):
    base = tmp_path / "genre"
    ahead = int(time.time()) + 1000
    (base / str(ahead)).mkdir(parents=True)
    assert push(model, base).version == ahead + 1


def traced_file(error: UserError) -> list[str]:
    """Names of the files of code that the error's cause passed through."""
    assert error.__cause__ is not None
    frames = traceback.extract_tb(error.__cause__.__traceback__)
    return [Path(frame.filename).name for frame in frames]


def test_a_full_disk_is_named_and_nothing_changes(model, tmp_path):
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small tmpfs")
    base = tmp_path / "small"
    base.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(base)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        first = push(model, base)
        (Path(model) / "variables" / "variables.data").write_bytes(os.urandom(1 << 20))
        with pytest.raises(UserError, match=rf"cannot be pushed to {base}: No space left"):
            push(model, base)
        assert shown(base) == [str(first.version)] and not list(base.glob(".push-*/"))
        assert_intact(base)
        # Ever more room, so that each file in turn is the first that finds none: the log is last.
        (Path(model) / "variables" / "variables.data").write_bytes(b"two")
        full = []
        for pages in range(20):
            filler = base / ".filler"
            place = os.statvfs(base)
            filler.write_bytes(b"x" * ((place.f_bavail - pages) * place.f_frsize))
            try:
                assert push(model, base).written
                break
            except UserError as error:
                full.append(traced_file(error))
            assert shown(base) == [str(first.version)]
            assert_intact(base)
            filler.unlink()
        assert "release_log.py" in full[-1] and len(shown(base)) == 2
        assert_intact(base)
    finally:
        subprocess.run(["umount", str(base)], check=True)


def test_a_local_folder_is_read_without_tensorflow():
    code = "import sys\nfrom components.common import releases\n"
    code += "releases.versions('none'), releases.checksums('none'), releases.read_release('none')\n"
    code += "assert not {'tensorflow', 'tfx'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
