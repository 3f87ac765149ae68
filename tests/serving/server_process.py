"""A server in a process of its own, as a person starts it."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

REPOSITORY = pathlib.Path(__file__).parents[2]
_START_SECONDS = 120.0


class ServerProcess:
    """`python -m serving.server` with the given flags, on free ports unless they say otherwise.

    Attributes:
      address: "localhost:port" of gRPC.
      rest_url: "http://localhost:port" of REST.
    """

    def __init__(self, folder: pathlib.Path, flags: Sequence[str]) -> None:
        """Starts it; `wait_ready` waits. Its output goes to files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / "output.txt"
        self._output.write_text("")
        command = [sys.executable, "-m", "serving.server"]
        if "--port" not in flags:
            command += ["--port", "0"]
        if "--rest-port" not in flags:
            command += ["--rest-port", "0"]
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [*command, *flags],
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, PYTHONUNBUFFERED="1"),
            )
        self.address = self.rest_url = ""

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    @property
    def port(self) -> str:
        """Its gRPC port."""
        return self.address.rpartition(":")[2]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_ready(self) -> "ServerProcess":
        """Waits until it listens."""
        end = time.monotonic() + _START_SECONDS
        while "Ctrl-C stops it." not in self.output:
            assert self._process.poll() is None, f"the server ended:\n{self.output}"
            assert time.monotonic() < end, f"the server did not start:\n{self.output}"
            time.sleep(0.1)
        self.address = _found(r"gRPC +(\S+)", self.output)
        self.rest_url = _found(r"REST +(\S+)", self.output)
        return self

    def wait_output(self, text: str, *, seconds: float = 30.0) -> None:
        """Waits until it has printed `text`."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"{text!r} is not in:\n{self.output}"
            time.sleep(0.05)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        url = f"{self.rest_url}/monitoring/prometheus/metrics"  # TF Serving's address
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_metric(self, name: str, wanted: float, *, seconds: float = 30.0) -> None:
        """Waits until a metric has the value `wanted`."""
        end = time.monotonic() + seconds
        while (value := self.metric(name)) != wanted:
            assert time.monotonic() < end, f"{name} is {value}, not {wanted}:\n{self.output}"
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        """Waits for its end. Returns the exit code."""
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Ends it, whatever it is doing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
