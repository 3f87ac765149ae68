"""Opens local files that others may have put where a file is expected."""

import os
import stat
from pathlib import Path
from typing import IO

NOT_REGULAR = "not a regular file"


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a file to read, without waiting: a pipe might never be written to.

    Raises:
      OSError: It cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, NOT_REGULAR, os.fspath(path))
    return os.fdopen(descriptor, "rb")
