"""Pushing to an object store, which has no rename."""

import pytest

from components.common import files, releases
from components.common.errors import UserError
from components.common.releases import Push, ReleaseStore
from tests.common.bucket import Bucket, new_bucket
from tests.common.test_releases import assert_intact, write_model

FILES = 5  # of a version: the model's three, a report and release.json


@pytest.fixture
def store(tmp_path) -> ReleaseStore:
    """A serving folder in a bucket with the models one and two."""
    store = ReleaseStore(f"{new_bucket()}/genre")
    for name in ("one", "two"):
        push(tmp_path, name, store)
    return store


def push(folder, name: str, store: ReleaseStore) -> Push:
    model = write_model(folder / name, name.encode())
    evidence = folder / "report.json"
    evidence.write_text("{}")
    return store.push(
        model, release={"model": name}, evidence={"assets.extra/report.json": str(evidence)}
    )


def folders(store: ReleaseStore) -> list[int]:
    return [int(name) for name in files.names(store.base) if name.isdigit()]


def test_the_model_file_comes_last_and_then_the_log(store, tmp_path):
    version = push(tmp_path, "three", store).path
    assert Bucket.puts[-2:] == [f"{version}/saved_model.pb", f"{store.base}/{releases.LOG_FILE}"]
    assert len(folders(store)) == 3
    assert_intact(store.base)


@pytest.mark.parametrize("room", range(FILES))
def test_a_refused_file_leaves_nothing_is_said_and_the_next_push_works(
    store, tmp_path, monkeypatch, room
):
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", room)
        with pytest.raises(UserError, match=r"the bucket is full\. Production keeps what it has"):
            push(tmp_path, "three", store)
    assert len(folders(store)) == 2
    assert_intact(store.base)
    assert push(tmp_path, "three", store).written
    assert_intact(store.base)


@pytest.mark.parametrize("room", range(FILES))
def test_what_a_killed_push_left_hinders_nothing(store, tmp_path, monkeypatch, room):
    one, two = store.versions()
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", room)
        patched.setattr(Bucket, "is_down", True)
        with pytest.raises(UserError, match="the bucket is full"):
            push(tmp_path, "three", store)
    assert len(folders(store)) == 2 + (room > 0)
    assert store.newest() == two
    assert not push(tmp_path, "two", store).written
    done = store.rollback()
    assert store.release(done.version).fields["source_version"] == one
    result = store.verify(store.versions())
    assert result.faults == [] and len(result.notes) == (room > 0)
    assert push(tmp_path, "three", store).written


def test_a_log_that_could_not_be_written_gets_its_line_by_the_next_push(
    store, tmp_path, monkeypatch
):
    """The version is complete then, and servers may have loaded it."""
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "room", FILES)
        assert push(tmp_path, "three", store).written
    assert len(store.verify([]).notes) == 1
    assert not push(tmp_path, "three", store).written
    assert_intact(store.base)
