"""The embedded server with the candidate, in a process of its own that always ends."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from components.common import files
from components.common.storage import is_remote

# A node does not import serving: it starts it, as production does.
_COMMAND = ("-m", "serving.server")
_ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.05
_TERMINATION_SECONDS = 3.0


class StartError(Exception):
    """The server does not serve the candidate; the text says why."""


class CandidateServer:
    """A running server.

    Attributes:
      host: Where it listens: loopback.
      port: Its gRPC port.
      rest_port: Its REST port.
      warmup_requests: How many warmup requests it replayed as it loaded the candidate.
      start_seconds: How long it took to serve.
    """

    host = "127.0.0.1"

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        """Takes a process that was just started, and the file of its output."""
        self.port = self.rest_port = 0
        self.warmup_requests = 0
        self.start_seconds = 0.0
        self._process = process
        self._output = output

    def wait(self, seconds: float) -> None:
        """Waits until it serves.

        Raises:
          StartError: It ended, or is not ready in time, or passes over the candidate.
        """
        start = time.monotonic()
        while "Ctrl-C stops it." not in (text := self._text()):
            if self._process.poll() is not None:
                raise StartError(
                    f"the server ended with code {self._process.returncode} before it served: "
                    f"{_last_line(text)}"
                )
            if time.monotonic() - start > seconds:
                raise StartError(
                    f"the server did not serve the candidate within {seconds:g} s: "
                    f"{_last_line(text)}"
                )
            time.sleep(_POLL_SECONDS)
        self.start_seconds = time.monotonic() - start
        if broken := re.search(r"cannot be served: (.*?)(?: \(serving: .*)?$", text, re.MULTILINE):
            raise StartError(f"the server cannot load the candidate: {broken[1]}")
        self.port = int(_found(r"gRPC +\S+:(\d+)", text))
        self.rest_port = int(_found(r"REST +\S+:(\d+)", text))
        if warmed := re.search(r"(\d+) warmup requests", text):
            self.warmup_requests = int(warmed[1])

    def ended(self) -> str:
        """Says how the server ended; "" while it runs."""
        code = self._process.poll()
        return "" if code is None else f"the server ended with code {code}"

    def peak_memory_bytes(self) -> int | None:
        """The most memory that it had so far (VmHWM); None where the system does not say."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return None
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(match[1]) * 1024 if match else None

    def _text(self) -> str:
        return self._output.read_text(errors="replace")


@contextlib.contextmanager
def serve(model: str, *, name: str) -> Iterator[CandidateServer]:
    """Starts a server of a SavedModel on free ports of loopback; it is gone after the block.

    Args:
      model: Folder of the SavedModel; one in an object store is copied.
      name: Name under which it is served.

    Yields:
      The server, which still loads: `wait` for it.
    """
    with tempfile.TemporaryDirectory(prefix="serving-check-") as folder:
        base = Path(folder) / name
        base.mkdir()
        if is_remote(model):
            for file in files.files_below(model):
                files.copy(f"{model}/{file}", f"{base}/1/{file}")
        else:
            (base / "1").symlink_to(Path(model).resolve(), target_is_directory=True)
        output = Path(folder) / "output.txt"
        with output.open("wb") as standard_output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "components.serving_check.launch", str(os.getpid())),
                    *_COMMAND,
                    *("--model-base-path", str(base)),
                    *("--model-name", name),
                    *("--host", CandidateServer.host),
                    *("--port", "0", "--rest-port", "0"),
                ],
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=standard_output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield CandidateServer(process, output)
        finally:
            _end(process)


def _environment() -> dict[str, str]:
    """This process's environment, with our code findable and without proxies."""
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERMINATION_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its session: whatever it had started, too
    process.wait()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise StartError(f"the server did not say where it listens: {_last_line(text)}")
    return match[1]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it printed nothing"
