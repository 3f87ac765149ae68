import fcntl
import threading
from pathlib import Path

import pytest

from components.common.errors import UserError
from pipeline.local import runner


def test_a_lock_that_a_killed_run_s_stages_still_hold_is_waited_for(tmp_path: Path) -> None:
    lock_file = tmp_path / ".lock"
    held = lock_file.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(0.5, held.close).start()
    with runner._alone(lock_file, "taken"):
        assert held.closed


def test_a_lock_that_another_run_holds_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runner, "_SECONDS_TO_LET_GO", 0.2)
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(UserError, match="taken; wait for it, or give another place"),
            runner._alone(tmp_path / ".lock", "taken"),
        ):
            pass
