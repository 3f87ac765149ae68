"""The MLflow store of an output folder, which may be moved or copied.

MLflow stores absolute artifact paths in `mlflow.db`. `python -m pipeline.local.mlflow_store
OUTPUT` points them at the `mlruns` folder beside the database.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from components.common.tracking import ARTIFACT_FOLDER

DATABASE_FILE = "mlflow.db"


def uri(output: Path) -> str:
    """MLflow's URI of an output folder's store."""
    return f"sqlite:///{(output / DATABASE_FILE).resolve()}"


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
    """Points the artifact places of a store at its own output folder.

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
            places = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        except sqlite3.DatabaseError:  # a new file, or none of MLflow's: MLflow will say
            return 0
        for (place,) in places:
            if not _is_store_of_ours(place) or place == here:
                continue
            changed += connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?",
                (here, place),
            ).rowcount
            changed += connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE substr(artifact_uri, 1, ?) = ?",
                (here, len(place) + 1, len(place) + 1, f"{place}/"),
            ).rowcount
    return changed


def _is_store_of_ours(place: str | None) -> bool:
    return (place or "").startswith("file:") and (place or "").endswith(f"/{ARTIFACT_FOLDER}")


if __name__ == "__main__":
    follow(Path(sys.argv[1]))
