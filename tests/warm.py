"""Processes that start at once, forked from one that has imported libraries but nothing of ours.

Importing TensorFlow, Beam, TFX and MLflow takes ten seconds of processor time. A test that starts
dozens of processes would mostly wait for that. What these processes run is otherwise what a shell
would start: they have an environment, a folder, arguments and an output of their own, and import
our code themselves.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, reduction
from pathlib import Path

LIBRARIES = (
    "tfx.components",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "mlflow.store.tracking.sqlalchemy_store",
)


def start_fork_server() -> None:
    """Starts the fork server with the libraries, unless this process has one."""
    multiprocessing.set_forkserver_preload(["tests.warm_libraries"])
    forkserver.ensure_running()


class WarmProcess:
    """Runs `python -m MODULE ARGUMENTS`; as much of `subprocess.Popen` as the tests need."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        screen: int = subprocess.PIPE,
    ) -> None:
        """Starts it.

        Args:
          module: Dotted name of the module to run.
          arguments: Its command line.
          cwd: Its folder.
          env: Its whole environment.
          screen: Descriptor that takes its output and its errors; by default a pipe, `stdout`.
        """
        start_fork_server()
        context = multiprocessing.get_context("forkserver")
        self.stdout = None
        if screen == subprocess.PIPE:
            reading, screen = os.pipe()
            self.stdout = os.fdopen(reading)
            close = screen
        else:
            close = None
        self._process = context.Process(
            target=_run, args=(module, [*arguments], str(cwd), dict(env), _Descriptor(screen))
        )
        self._process.start()
        if close is not None:
            os.close(close)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Reads all output and waits for the end; kills the process after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        os.set_blocking(self.stdout.fileno(), False)
        parts = []
        while self.returncode is None and time.monotonic() < deadline:
            parts.append(self._read())
            self._process.join(0.05)
        if self.returncode is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self._process.name, timeout, "".join(parts))
        parts.append(self._read())
        self.stdout.close()
        return "".join(parts), None

    def _read(self) -> str:
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.stdout.fileno(), 1 << 16):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Descriptor:
    """A file descriptor that reaches the new process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple:
        return _detach, (reduction.DupFd(self._number),)


def _detach(descriptor) -> int:
    return descriptor.detach()


def _run(module: str, arguments: list[str], cwd: str, env: dict[str, str], screen: int) -> None:
    os.dup2(screen, 1)
    os.dup2(screen, 2)
    os.close(screen)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    # What it starts comes from the same fork server: multiprocessing says that children share it,
    # and passes its address on, but starts another one.
    forkserver.ensure_running = forkserver._forkserver.ensure_running = lambda: None
    sys.argv = [module, *arguments]
    # As after `python -m`: our code is in the folder or where PYTHONPATH says, and nowhere else.
    python_path = [path for path in env.get("PYTHONPATH", "").split(":") if path]
    libraries = [path for path in sys.path if path not in ("", str(Path(__file__).parents[1]))]
    sys.path[:] = [cwd, *python_path, *libraries]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
