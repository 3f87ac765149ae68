"""The page in a process of its own, as a person starts it."""

import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence

from tests.serving.server_process import REPOSITORY


class PageProcess:
    """`python -m serving.app` on a free port.

    Attributes:
      url: Where it is.
      pid: Its process id.
    """

    def __init__(self, folder: pathlib.Path, flags: Sequence[str]) -> None:
        """Starts it and waits until it answers. Its output goes to a file in `folder`."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._output = folder / "page.txt"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.app", "--port", str(port), *flags],
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.url = f"http://127.0.0.1:{port}"
        self.pid = self._process.pid
        end = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).read()
                return
            except OSError:
                started = self._process.poll() is None and time.monotonic() < end
                assert started, f"the page did not start:\n{self.output}"
                time.sleep(0.2)

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(30)
