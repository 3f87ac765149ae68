"""Beam's job server for Flink: takes pipelines from Python and runs them on Flink.

Without a cluster it runs Flink in its own process, so that a laptop needs Java and nothing else.
"""

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from components.common.errors import UserError
from pipeline.flink import jars

EMBEDDED = "[local]"
_SECONDS_TO_START = 180  # a JVM on a machine that is busy took over a minute
_SECONDS_TO_END = 10
_PR_SET_PDEATHSIG = 1
# Not in the child between fork and exec, where nothing may be loaded.
_C_LIBRARY = ctypes.CDLL(None)
# Flink's serializers look into these packages, which Java 17 closes.
_UTIL = ("java.util", "java.util.concurrent")
OPENED_PACKAGES = ("java.lang", "java.lang.reflect", *_UTIL, "java.nio")


@contextlib.contextmanager
def job_server(log_file: Path, *, flink_master: str = "") -> Iterator[str]:
    """Runs a job server; it ends with the `with` block, or with this process.

    Args:
      log_file: Where the server's output goes.
      flink_master: `host:port` of a cluster's REST service; without it Flink runs embedded.

    Yields:
      The endpoint that Beam's `--job_endpoint` takes.

    Raises:
      UserError: Java or Maven is missing, or the server does not start.
    """
    java, folder, port = jars.java(), jars.fetch(), free_port()
    with contextlib.ExitStack() as stack:
        staging = stack.enter_context(tempfile.TemporaryDirectory(prefix="gatefold-job-server-"))
        log = stack.enter_context(log_file.open("ab"))
        server = subprocess.Popen(
            [
                java,
                *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED_PACKAGES),
                *("-cp", f"{folder}/*", "org.apache.beam.runners.flink.FlinkJobServerDriver"),
                f"--flink-master={flink_master or EMBEDDED}",
                *("--job-host=localhost", f"--job-port={port}"),
                *("--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={staging}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
            preexec_fn=end_with_parent,
        )
        stack.callback(end, server)
        _wait(server, port, log_file)
        yield f"localhost:{port}"


def end_with_parent() -> None:
    """Lets Linux end a child process when its parent is gone, even if that was killed."""
    if sys.platform == "linux":
        _C_LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def answers(address: str, *, seconds: float = 2.0) -> bool:
    """Tells whether something listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds):
            return True
    except (OSError, ValueError):
        return False


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that may have ended already, and waits for it."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(server: "subprocess.Popen[bytes]", port: int, log_file: Path) -> None:
    """Waits until the server answers."""
    latest = time.monotonic() + _SECONDS_TO_START
    while not answers(f"localhost:{port}"):
        if server.poll() is not None or time.monotonic() > latest:
            last = next(iter(log_file.read_text(errors="replace").splitlines()[-1:]), "")
            raise UserError(
                f"--beam-runner flink: Beam's job server did not start (its output is in "
                f"{log_file}; Java 11 or 17 is needed). It said last: {last}"
            )
        time.sleep(0.2)
