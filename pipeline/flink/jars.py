"""Finds Java, and fetches the jars of Beam's job server for Flink from Maven, once a machine."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from components.common.errors import UserError

POM = Path(__file__).parent / "pom.xml"
_LINES_OF_A_FAILURE = 3


def cache_folder() -> Path:
    """Folder of the jars; its name changes with the pom."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    return base / "gatefold" / f"flink-job-server-{version}"


def java(runner: str = "flink") -> str:
    """Path of the `java` command that `runner` needs: that of JAVA_HOME, else that on the PATH.

    Raises:
      UserError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    command = shutil.which("java", path=f"{home}/bin") if home else None
    command = command or shutil.which("java")
    if command is None:
        raise UserError(
            f"--beam-runner {runner} needs Java 11 or 17 for Beam's job server: install it "
            "(Debian: apt-get install openjdk-17-jre-headless), or name a job server that runs "
            "elsewhere with --job-endpoint HOST:PORT"
        )
    return command


def check_maven() -> None:
    """Checks that the jars are cached or can be fetched.

    Raises:
      UserError: Maven is needed and missing.
    """
    if not cache_folder().is_dir() and shutil.which("mvn") is None:
        raise UserError(
            "--beam-runner flink needs Maven once, to fetch the jars of Beam's job server "
            "(160 MB): install it (Debian: apt-get install maven), or name a job server that runs "
            "elsewhere with --job-endpoint HOST:PORT"
        )


def fetch() -> Path:
    """Returns the folder of the job server's jars, and fetches them if it is not there.

    Raises:
      UserError: Maven is missing or failed.
    """
    folder = cache_folder()
    if folder.is_dir():
        return folder
    check_maven()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be fetching them
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                _copy_dependencies(Path(scratch) / "jars")
                (Path(scratch) / "jars").rename(folder)
    return folder


def _copy_dependencies(target: Path) -> None:
    process = subprocess.run(
        [
            *("mvn", "--batch-mode", "--quiet", "--file", str(POM)),
            *("dependency:copy-dependencies", f"-DoutputDirectory={target}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode or not target.is_dir():
        errors = [line for line in process.stdout.splitlines() if "[ERROR]" in line]
        shown = " ".join(errors[:_LINES_OF_A_FAILURE]) or process.stdout.strip()[-300:]
        raise UserError(
            "--beam-runner flink: Maven could not fetch the jars of Beam's job server; is there a "
            f"network, or a mirror in ~/.m2/settings.xml? Maven said: {shown}"
        )
