"""Where a local run is tracked: MLflow's server or the output folder's store; imports no MLflow.

An output folder may be moved or copied, and MLflow stores absolute artifact paths in `mlflow.db`:
`python -m pipeline.local.mlflow_store OUTPUT` points them at the `mlruns` folder beside it, and
serves MLflow's pages.
"""

import argparse
import http.client
import os
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from components.common import browser
from components.common.errors import UserError
from components.common.tracking import ARTIFACT_FOLDER
from pipeline.config import PipelineConfig

DATABASE_FILE = "mlflow.db"
_TIMEOUT_SECONDS = 5

# What MLflow's URIs begin with; a database may name its driver behind a plus sign.
_SERVERS = ("http", "https")
_STORES = ("sqlite", "postgresql", "mysql", "mssql", "file", "databricks", "arn")


def uri(output: Path) -> str:
    """MLflow's URI of an output folder's store."""
    return f"sqlite:///{(output / DATABASE_FILE).resolve()}"


def tracking_uri(config: PipelineConfig) -> str:
    """Where runs are tracked: `--mlflow-uri`, else MLFLOW_TRACKING_URI, else in the output."""
    chosen = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return chosen or uri(config.local_folder)


def check_reachable(uri: str) -> None:
    """Checks that a store is there, before hours of work depend on it.

    Raises:
      UserError: The server does not answer, the SQLite file cannot be written, or MLflow cannot
        open such a URI.
    """
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    try:
        parts = urllib.parse.urlsplit(uri)
        # Reading the port is what checks it.
        malformed = scheme in _SERVERS and (not parts.hostname or parts.port == 0)
    except ValueError:
        malformed = True
    if malformed or scheme not in (*_SERVERS, *_STORES):
        raise UserError(
            "--mlflow-uri (or MLFLOW_TRACKING_URI) must be a server, as http://localhost:5000 "
            "(its port is from 1 to 65535), or a database, as sqlite:////folder/mlflow.db. "
            f"Received: {uri}"
        )
    if scheme == "sqlite":
        _check_file(Path(uri.partition(":///")[2].partition("?")[0]))
    if scheme not in _SERVERS:
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"--mlflow-uri: the MLflow server at {uri} does not answer ({reason}). Start it, "
            "name another, or leave it out to track in the output folder"
        ) from error


def _check_file(file: Path) -> None:
    """Opens a SQLite file as MLflow will, which tries for minutes where that fails."""
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=1.0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise UserError(
            f"MLflow's store {file} cannot be used ({error}). End the program that holds it, name "
            "another store with --mlflow-uri, or move the file away"
        ) from error


def create(output: Path) -> None:
    """Creates the store of an output folder if it has none.

    MLflow makes its tables in many steps, and cannot go on where it was killed between two of them.
    So they are made in another file, which is then renamed.
    """
    import mlflow

    database = output.resolve() / DATABASE_FILE
    if not database.exists():
        partial = database.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments()
        partial.rename(database)


def follow(output: Path) -> int:
    """Points the artifact paths of a store at its own output folder.

    Args:
      output: The folder that holds `mlflow.db` and `mlruns`.

    Returns:
      How many experiments and runs were changed; 0 where nothing has moved.
    """
    database = output / DATABASE_FILE
    if not database.is_file():
        return 0
    here = (output / ARTIFACT_FOLDER).resolve().as_uri()
    changed = 0
    with closing(sqlite3.connect(database)) as connection, connection:
        try:
            rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        except sqlite3.DatabaseError:  # a new file, or none of MLflow's: MLflow will say
            return 0
        for (folder,) in rows:
            text = folder or ""
            is_ours = text.startswith("file:") and text.endswith(f"/{ARTIFACT_FOLDER}")
            if not is_ours or folder == here:
                continue
            changed += connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?",
                (here, folder),
            ).rowcount
            changed += connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE substr(artifact_uri, 1, ?) = ?",
                (here, len(folder) + 1, len(folder) + 1, f"{folder}/"),
            ).rowcount
    return changed


def page_of_runs(output: Path, experiment: str = "gatefold") -> str:
    """The part of an address behind MLflow's own that shows the training runs of a store.

    MLflow's start page is for language models; an experiment's page opens on traces.
    """
    database = (output / DATABASE_FILE).resolve()
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)
        ).fetchall()
    return f"/#/experiments/{rows[0][0]}/runs" if rows else ""


def open_pages(output: Path, flags: Sequence[str]) -> int:
    """Serves MLflow's pages of an output folder, and opens that of its training runs.

    Args:
      output: The folder that holds `mlflow.db`.
      flags: Of `mlflow ui`.

    Returns:
      The exit code.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host", "-h", default="127.0.0.1")
    parser.add_argument("--port", "-p", type=int, default=5000)
    parsed, _ = parser.parse_known_args(flags)
    follow(output)
    url = f"http://{browser.shown_host(parsed.host)}:{parsed.port}{page_of_runs(output)}"
    print(f"The training runs: {url}. Ctrl-C ends it.", flush=True)
    browser.open_when_ready(url, parsed.port)
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning", "--backend-store-uri", uri(output)]
    quiet = {
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for language models
        "PYTHONWARNINGS": "ignore",
    }
    try:
        return subprocess.call(
            [*command, *flags], env={**os.environ, **quiet}, stdout=subprocess.DEVNULL
        )
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(open_pages(Path(sys.argv[1]), sys.argv[2:]))
