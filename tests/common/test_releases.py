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

from components.common import releases
from components.common.errors import UserError
from components.common.releases import Push, ReleaseStore
from tests.conftest import ROOT


@pytest.fixture
def model(tmp_path) -> str:
    return write_model(tmp_path / "model", b"one")


@pytest.fixture
def base(tmp_path) -> Path:
    return tmp_path / "genre"


def write_model(folder: Path, content: bytes) -> str:
    for name in ("saved_model.pb", "variables/variables.index", "assets/genres.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() + content)
    return str(folder)


def push(model: str, base: Path, **facts: object) -> Push:
    return ReleaseStore(str(base)).push(model, release={"model": "cnn", **facts})


def shown(base: Path) -> list[str]:
    """The versions, and whatever else is visible beside them and the log."""
    names = {path.name for path in base.iterdir() if not path.name.startswith(".")}
    return sorted(names - {releases.LOG_FILE})


def assert_intact(base: Path | str) -> None:
    """Every version is what was released, and the log says what the versions say."""
    store = ReleaseStore(str(base))
    result = store.verify(store.versions())
    assert (result.faults, result.notes) == ([], [])


def killed_in(function: str, call: str, *arguments: str) -> None:
    """Makes a call in a process that is killed as soon as a function of `writing` has returned."""
    code = (
        "import os, signal, sys\n"
        "from components.common.releases import ReleaseStore, writing\n"
        f"function = writing.{function}\n"
        "def then_die(*arguments):\n"
        "    function(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"writing.{function} = then_die\n"
        f"ReleaseStore(sys.argv[1]).{call}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def test_a_version_holds_the_model_and_its_release_file_and_is_pushed_once(model, base):
    done = push(model, base)
    assert done.written
    version = base / str(done.version)
    assert (version / "variables" / "variables.index").read_bytes().endswith(b"one")
    release = json.loads((version / releases.RELEASE_FILE).read_text())
    assert release["model"] == "cnn" and release["version"] == done.version
    assert release["files"] == releases.checksums(model)
    again = push(model, base)
    assert (again.version, again.written) == (done.version, False)
    assert shown(base) == [str(done.version)]


def test_a_path_that_is_not_utf_8_is_stated_so_that_it_can_be_read_again(model, base):
    done = push(model, base, data=os.fsdecode(b"/music/caf\xe9"), run_id="r\udce9")
    assert ReleaseStore(str(base)).release(done.version).data == "caf?"
    assert not push(model, base).written
    assert_intact(base)


def tamper(version: Path) -> None:
    (version / "variables" / "variables.index").write_bytes(b"other")


def truncate(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"")


def forget(version: Path) -> None:
    (version / releases.RELEASE_FILE).unlink()


@pytest.mark.parametrize("harm", [shutil.rmtree, tamper, truncate, forget])
def test_what_was_deleted_or_altered_is_pushed_again_as_a_newer_version(model, base, harm):
    first = push(model, base)
    harm(Path(first.path))
    second = push(model, base)
    assert second.written
    assert releases.checksums(second.path) == releases.checksums(model)
    assert second.version == ReleaseStore(str(base)).newest()


def test_a_push_that_was_killed_leaves_no_version_and_the_next_one_works(model, base):
    killed_in("_copy_local", "push(sys.argv[2], release={})", str(base), model)
    assert list(base.glob(".push-*/")) and shown(base) == []
    done = push(model, base)
    assert done.written and shown(base) == [str(done.version)]
    assert not list(base.glob(".push-*/"))


def test_processes_that_push_at_once_write_each_version_once_and_every_line(tmp_path, base):
    models = [write_model(tmp_path / f"{number}", b"%d" % number) for number in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        same = pool.starmap(push, [(models[0], base)] * 4)
        assert sum(done.written for done in same) == len(shown(base)) == 1
        pool.starmap(push, [(model, base) for model in models[1:]])
    assert len(ReleaseStore(str(base)).history()) == len(models)
    assert_intact(base)


def test_a_new_version_is_newer_even_if_the_clock_went_back(model, base):
    ahead = int(time.time()) + 1000
    (base / str(ahead)).mkdir(parents=True)
    assert push(model, base).version == ahead + 1


@pytest.mark.parametrize("seconds", [0, -1000])
def test_a_number_is_given_once_even_if_its_version_is_gone(model, base, monkeypatch, seconds):
    """A second version of that number would look as if the log had been altered."""
    first = push(model, base)
    shutil.rmtree(first.path)
    monkeypatch.setattr(time, "time", lambda: first.version + seconds)
    assert push(model, base).version == first.version + 1
    assert ReleaseStore(str(base)).verify([]).faults == []


def test_a_number_that_servers_do_not_load_is_no_version(model, base):
    """TF Serving takes numbers of 63 bits."""
    for name in (str(2**63), "9" * 200, "007", "²"):
        write_model(base / name, b"other")
    done = push(model, base)
    assert done.version < 2**62
    assert ReleaseStore(str(base)).versions() == [done.version]
    assert_intact(base)
    write_model(base / str(2**63 - 1), b"other")
    with pytest.raises(UserError, match=rf"no number left .*{2**63 - 1}"):
        push(model, base)


PLANTED = {
    "log folder": lambda base: (base / releases.LOG_FILE).mkdir(),
    "log pipe": lambda base: os.mkfifo(base / releases.LOG_FILE),
    "lock folder": lambda base: (base / ".push.lock").mkdir(),
    "file": lambda base: base.rmdir() or base.write_text("notes"),
    "link to nowhere": lambda base: base.rmdir() or base.symlink_to("nowhere"),
    "link to itself": lambda base: base.rmdir() or base.symlink_to(base),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_serving_folder_that_cannot_be_used_is_named_in_a_sentence(model, base, plant):
    base.mkdir()
    plant(base)
    with pytest.raises(UserError, match=f"cannot be pushed to {base}: "):
        push(model, base)


def test_links_in_the_serving_folder_harm_no_other_files(model, base, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    base.mkdir()
    (base / ".push.lock").symlink_to(tmp_path / "mine" / "notes")
    (base / ".push-1").symlink_to(tmp_path / "mine")
    (base / ".push-2").write_text("a file")
    assert push(model, base).written
    assert (tmp_path / "mine" / "notes").read_text() == "mine"


def traced_functions(error: UserError) -> list[str]:
    """Names of the functions that the error's cause passed through."""
    assert error.__cause__ is not None
    return [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)]


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
            disk = os.statvfs(base)
            filler.write_bytes(b"x" * ((disk.f_bavail - pages) * disk.f_frsize))
            try:
                assert push(model, base).written
                break
            except UserError as error:
                full.append(traced_functions(error))
            assert shown(base) == [str(first.version)]
            assert_intact(base)
            filler.unlink()
        assert "write_synced" in full[-1] and len(shown(base)) == 2
        assert_intact(base)
    finally:
        subprocess.run(["umount", str(base)], check=True)


def test_a_local_folder_is_read_without_tensorflow():
    code = (
        "import sys\n"
        "from components.common.releases import ReleaseStore, checksums\n"
        "store = ReleaseStore('none')\n"
        "store.versions(), store.release(1), store.history(), store.verify([]), checksums('none')\n"
        "assert not {'tensorflow', 'tfx'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
