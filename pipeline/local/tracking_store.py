"""MLflow's tracking URI and a check that its server answers, without importing MLflow."""

import http.client
import os
import urllib.parse
import urllib.request

from components.common.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.local import mlflow_store

_TIMEOUT_SECONDS = 5

# What MLflow's URIs begin with; a database may name its driver behind a plus sign.
_SERVERS = ("http", "https")
_STORES = ("sqlite", "postgresql", "mysql", "mssql", "file", "databricks", "arn")


def tracking_uri(config: PipelineConfig) -> str:
    """Where runs are tracked: `--mlflow-uri`, else MLFLOW_TRACKING_URI, else in the output."""
    chosen = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return chosen or mlflow_store.uri(config.local_folder)


def check_reachable(uri: str) -> None:
    """Checks that a tracking server answers, before hours of work depend on it.

    Raises:
      UserError: The server does not answer, or MLflow cannot open such a URI.
    """
    scheme = _scheme(uri)
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


def _scheme(uri: str) -> str:
    """Scheme of a URI, after checking that the URI is valid."""
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
    return scheme
