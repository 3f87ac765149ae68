"""Starts Python with arguments, and sees to it that it never outlives who started it.

python -m components.serving_check.launch <parent's process id> -m serving.server …
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


def main() -> None:
    """Asks the kernel to kill this process with its parent, and becomes the other program."""
    parent, *arguments = sys.argv[1:]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's; others do without
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it went before the line above
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main()
