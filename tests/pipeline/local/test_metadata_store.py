"""Each metadata store has an identity of its own, and one that cannot be used is named."""

import subprocess
import sys

import pytest

from components.common.errors import UserError
from pipeline.local.metadata_store import identity


def test_a_store_keeps_its_name_and_a_new_one_has_another(tmp_path):
    file = tmp_path / "somewhere" / "metadata.db"
    first = identity(file)
    assert identity(file) == first
    file.unlink()
    assert identity(file) != first
    file.write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match=f"--metadata: {file} cannot be used"):
        identity(file)


def test_a_store_that_another_program_holds_is_left_alone(tmp_path):
    file = tmp_path / "metadata.db"
    name = identity(file)
    # SQLite's locks are a process's own.
    holding = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1], isolation_level=None); "
    holding += "store.execute('BEGIN EXCLUSIVE'); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="--metadata: another program holds"):
            identity(file)
        other.stdin.write(b"\n")
    assert identity(file) == name
