"""Where MLflow keeps the runs, and whether it is there; without importing MLflow."""

import os
import urllib.error
import urllib.request

from components.errors import UserError
from pipeline.config import PipelineConfig

DATABASE_FILE = "mlflow.db"
_TIMEOUT_SECONDS = 5


def tracking_uri(config: PipelineConfig) -> str:
    """Where runs are tracked: `--mlflow-uri`, else MLFLOW_TRACKING_URI, else in the output."""
    chosen = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return chosen or f"sqlite:///{(config.local_folder / DATABASE_FILE).resolve()}"


def check_reachable(uri: str) -> None:
    """Asks a tracking server whether it is there, before hours of work depend on it.

    Raises:
      UserError: It does not answer.
    """
    if not uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"--mlflow-uri: the MLflow server at {uri} does not answer ({reason}). Start it, "
            "name another, or leave it out to track in the output folder"
        ) from error
