"""Pushing to an object store, which has no rename and no lock."""

import pytest
import tensorflow as tf

from components.common import files, release_log, releases
from components.common.errors import UserError
from components.common.release_check import log_faults, version_faults
from tests.common.bucket import Bucket, new_bucket
from tests.common.test_releases import write_model

FILES = 5  # of a version: the model's three, a report and release.json


@pytest.fixture
def base(tmp_path) -> str:
    """A serving folder in a bucket with the models one and two."""
    folder = f"{new_bucket()}/genre"
    for name in ("one", "two"):
        push(tmp_path, name, folder)
    return folder


def push(folder, name: str, base: str) -> releases.Push:
    model = write_model(folder / name, name.encode())
    evidence = folder / "report.json"
    evidence.write_text("{}")
    return releases.push(
        model,
        base,
        release={"model": name},
        evidence={"assets.extra/report.json": str(evidence)},
    )


def assert_intact(base: str, *, folders: int) -> None:
    """There are as many folders, and each is a version that is what was released."""
    log = release_log.read(base)
    there = releases.versions(base)
    assert [int(name) for name in files.names(base) if name.isdigit()] == there
    assert [version_faults(base, version, log) for version in there] == [[]] * folders
    assert log_faults(base, log) == ([], [])


def test_the_model_file_comes_last_and_then_the_log(base, tmp_path):
    version = push(tmp_path, "three", base).path
    assert Bucket.puts[-2:] == [f"{version}/saved_model.pb", f"{base}/{releases.LOG_FILE}"]
    assert_intact(base, folders=3)


@pytest.mark.parametrize("room", range(FILES))
def test_a_refused_file_leaves_nothing_is_said_and_the_next_push_works(
    base, tmp_path, monkeypatch, room
):
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", room)
        with pytest.raises(UserError, match=r"the bucket is full\. Production keeps what it has"):
            push(tmp_path, "three", base)
    assert_intact(base, folders=2)
    assert push(tmp_path, "three", base).written
    assert_intact(base, folders=3)


@pytest.mark.parametrize("room", range(FILES))
def test_what_a_killed_push_left_stands_in_nobody_s_way(base, tmp_path, monkeypatch, room):
    one, two = releases.versions(base)
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", room)
        patched.setattr(Bucket, "is_down", True)
        with pytest.raises(UserError, match="the bucket is full"):
            push(tmp_path, "three", base)
    assert len([name for name in files.names(base) if name.isdigit()]) == 2 + (room > 0)
    assert releases.newest_version(base) == two
    assert not push(tmp_path, "two", base).written
    done = releases.rollback(base)
    assert releases.read_release(done.path)["source_version"] == one
    faults, notes = log_faults(base, release_log.read(base))
    assert faults == [] and len(notes) == (room > 0)
    assert push(tmp_path, "three", base).written


def test_a_log_that_could_not_be_written_is_mended_by_the_next_push(base, tmp_path, monkeypatch):
    """The version is complete then, and servers may have loaded it."""
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", FILES)
        with pytest.raises(tf.errors.ResourceExhaustedError):
            push(tmp_path, "three", base)
    assert len(releases.versions(base)) == 3
    assert not push(tmp_path, "three", base).written
    assert_intact(base, folders=3)
