"""A real disk of two megabytes: who finds it full, and what is said."""

import os
import subprocess
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf

from components.common import raw_examples, storage
from components.common.errors import UserError
from components.example_gen.files import IngestError
from tests.example_gen import conftest as world


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2000k", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_records_that_do_not_fit_are_refused_before_they_are_written(music, small_disk, tmp_path):
    with pytest.raises(IngestError) as error:
        world.run_executor(music, small_disk, world.few_settings())
    text = str(error.value)
    # Twelve clips of four seconds, 176 kB each.
    assert f"{small_disk}/examples has " in text and "2.1 MB are needed" in text
    assert not list(Path(small_disk).rglob("*tfrecord*"))


def test_a_full_disk_is_seen_through_tensorflow_s_and_beam_s_errors(small_disk, tmp_path):
    with pytest.raises(tf.errors.OpError) as error:
        raw_examples.write_records(str(small_disk / "a"), [bytes(100_000)] * 30)
    disk_error = storage.disk_full(error.value, str(tmp_path), str(small_disk))
    assert isinstance(disk_error, UserError) and str(small_disk) in str(disk_error)

    def fill(name: str) -> None:
        (small_disk / name).write_bytes(bytes(3_000_000))

    with pytest.raises(Exception) as error, beam.Pipeline(argv=world.BEAM_ARGS) as pipeline:
        pipeline | beam.Create(["b"]) | beam.Map(fill)
    assert str(small_disk) in str(storage.disk_full(error.value, str(small_disk)))


def test_the_ingest_names_a_disk_that_fills_up_under_way(music, small_disk, monkeypatch):
    monkeypatch.setattr(storage, "shortage", lambda *_: "")  # as another program's file would
    with pytest.raises(IngestError, match=f"the disk is full: {small_disk}"):
        world.run_executor(music, small_disk, world.few_settings())


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    assert storage.disk_full(OSError(13, "Permission denied", "x"), str(tmp_path)) is None
    assert storage.disk_full(ValueError("no"), str(tmp_path)) is None
    assert storage.disk_full(None) is None


def test_an_error_wrapped_on_its_way_is_still_known_and_an_object_store_has_room(tmp_path):
    error = RuntimeError("a stage failed")
    error.__cause__ = OSError(28, "No space left on device", str(tmp_path / "file"))
    assert str(tmp_path) in str(storage.disk_full(error, "s3://bucket/out"))
    assert storage.shortage("s3://bucket/out", 1 << 60) == ""
