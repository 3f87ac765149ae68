"""What signals do to the process of the runner."""

import os
import signal
import time

import pytest

from pipeline.local.interruption import Interruption


def test_sigterm_is_ctrl_c_until_the_run_has_its_outcome():
    with Interruption() as interruption:
        interruption.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # the signal comes between two instructions
        with pytest.raises(KeyboardInterrupt):  # also if the first one got lost
            interruption.check()
        interruption.ignore()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        interruption.check()
        assert interruption.requested


def test_behind_nohup_ctrl_c_stays_without_effect():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGINT, before)
