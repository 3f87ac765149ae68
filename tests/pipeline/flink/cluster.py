"""A Flink cluster on this machine, each part a process of its own, for the tests of scale.

A JobManager, TaskManagers, and the pool of Beam's Python workers beside them; on Kubernetes the
Flink operator starts the same parts. Flink's jars are those below FLINK_HOME, or of the package
apache-flink-libraries in .tools/flink, which `make test-scale` installs.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from components.common.errors import UserError
from pipeline.flink import jars
from pipeline.flink.job_server import OPENED_PACKAGES, answers, end, end_with_parent, free_port
from tests.conftest import ROOT

SLOTS = 2  # of each TaskManager, so that one of two can take over the other's work
_SECONDS_TO_START = 180
# Of a TaskManager: Flink wants each of them to be said, as its own start script computes them.
# A step that passes elements on takes 16 MB of the network's; ingest has over ten at once.
_HEAP_MB, _FRAMEWORK_MB, _NETWORK_MB, _MANAGED_MB = 512, 128, 384, 256
_METASPACE_MB, _OVERHEAD_MB = 256, 192
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %-5p %c{1} %m%n
"""


@dataclasses.dataclass
class Cluster:
    """A running cluster.

    Attributes:
      rest: `host:port` of its REST service and web page, for `--flink-master`.
      worker_pool: `host:port` of Beam's Python workers, for `--beam-worker-pool`.
      task_managers: Processes of the TaskManagers.
      pool_process: Process of the pool of workers, which leads a process group with its workers.
      start_pool: Starts such a process.
    """

    rest: str
    worker_pool: str
    task_managers: list["subprocess.Popen[bytes]"]
    pool_process: "subprocess.Popen[bytes]"
    start_pool: Callable[[], "subprocess.Popen[bytes]"]

    def ask(self, path: str) -> Any:
        """Asks the REST service, as in `ask("/jobs/overview")`."""
        with urllib.request.urlopen(f"http://{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def lose_worker_pool(self) -> None:
        """Kills the pool with its workers, and starts another one at the same address.

        That is what Kubernetes does when the pool's container fails.
        """
        os.killpg(self.pool_process.pid, signal.SIGKILL)
        self.pool_process.wait()
        self.pool_process = self.start_pool()


def libraries() -> Path:
    """Folder of Flink's jars.

    Raises:
      UserError: There is none.
    """
    home = os.environ.get("FLINK_HOME")
    folders = [Path(home) / "lib"] if home else []
    folders += Path(".tools/flink").glob("lib/python3*/site-packages/pyflink/lib")
    for folder in folders:
        if any(folder.glob("flink-dist-*.jar")):
            return folder
    raise UserError(
        "there is no Flink: `make test-scale` brings it, or set FLINK_HOME to the folder of "
        "Flink 1.16, whose lib/ holds flink-dist-1.16.*.jar"
    )


@contextlib.contextmanager
def running(folder: Path, *, task_managers: int = 2) -> Iterator[Cluster]:
    """Runs a cluster; its processes end with the `with` block, or with this process.

    Args:
      folder: For configuration, logs and temporary files.
      task_managers: How many TaskManagers, of `SLOTS` slots each.

    Raises:
      UserError: Java or Flink is missing, or a part does not start.
    """
    java, lib, folder = jars.java(), libraries(), folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    rest, pool = free_port(), free_port()
    _configure(folder, rest_port=rest, rpc_port=free_port())
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
            log: IO[bytes] = stack.enter_context((folder / f"{name}.log").open("ab"))
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            stack.callback(end, process)
            return process

        def start_java(name: str, main: str) -> "subprocess.Popen[bytes]":
            return start(name, _java_command(java, lib, folder, main))

        def start_pool() -> "subprocess.Popen[bytes]":
            # The pool calls `python`, which must be the one with Beam in it.
            return start(
                "worker-pool",
                [sys.executable, "-m", "tests.pipeline.flink.worker_pool", str(pool)],
                PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                PYTHONPATH=str(ROOT),
                TF_CPP_MIN_LOG_LEVEL="3",
            )

        pool_process = start_pool()
        start_java("job-manager", _JOB_MANAGER)
        cluster = Cluster(
            f"localhost:{rest}",
            f"localhost:{pool}",
            [start_java(f"task-manager-{index}", _TASK_MANAGER) for index in range(task_managers)],
            pool_process,
            start_pool,
        )
        wait_for(
            lambda: cluster.ask("/overview")["slots-total"] == SLOTS * task_managers,
            f"Flink did not start; its logs are in {folder}",
        )
        wait_for(
            lambda: answers(cluster.worker_pool),
            f"Beam's worker pool did not start; its log is {folder}/worker-pool.log",
        )
        yield cluster


def wait_for(
    condition: Callable[[], bool], otherwise: str, *, seconds: float = _SECONDS_TO_START
) -> None:
    """Waits until a condition holds; an OSError of it, as of a refused connection, is a no.

    Raises:
      UserError: It did not hold in time; its text is `otherwise`.
    """
    latest = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > latest:
            raise UserError(otherwise)
        time.sleep(0.2)


def _configure(folder: Path, *, rest_port: int, rpc_port: int) -> None:
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc_port,
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest_port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.cpu.cores": SLOTS,
        "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_MB}m",
        "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_MB}m",
        "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE_MB}m",
        "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD_MB}m",
        "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD_MB}m",
        "taskmanager.memory.task.heap.size": f"{_HEAP_MB}m",
        "taskmanager.memory.task.off-heap.size": f"{_FRAMEWORK_MB}m",
        "taskmanager.memory.network.min": f"{_NETWORK_MB}m",
        "taskmanager.memory.network.max": f"{_NETWORK_MB}m",
        "taskmanager.memory.managed.size": f"{_MANAGED_MB}m",
        # Both TaskManagers get work, and a job goes on when one of them is lost, or the pool of
        # workers, which takes a while to start again. Each step that fails by it is an attempt.
        "cluster.evenly-spread-out-slots": "true",
        "restart-strategy": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 20,
        "restart-strategy.fixed-delay.delay": "10 s",
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 20000,
        "io.tmp.dirs": folder / "tmp",
    }
    lines = [f"{name}: {value}\n" for name, value in settings.items()]
    (folder / "flink-conf.yaml").write_text("".join(lines))
    (folder / "log4j.properties").write_text(_LOGGING)
    (folder / "tmp").mkdir(exist_ok=True)


def _java_command(java: str, lib: Path, folder: Path, main: str) -> list[str]:
    is_worker = main == _TASK_MANAGER
    heap = _HEAP_MB + _FRAMEWORK_MB if is_worker else 448
    direct = 2 * _FRAMEWORK_MB + _NETWORK_MB
    return [
        java,
        *(f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m"),
        f"-XX:MaxMetaspaceSize={_METASPACE_MB}m",
        "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED_PACKAGES),
        f"-Dlog4j.configurationFile={folder}/log4j.properties",
        *("-cp", f"{lib.absolute()}/*", main, "-c", str(folder)),
    ]
