"""The metadata store of local runs: a SQLite file with an identity of its own.

ML Metadata numbers executions from one, and TFX names artifact folders by these numbers. A store
that was deleted, or that is on another machine, starts at one again, and would write into folders
that already hold files of earlier executions. So every store has a random name, and its artifacts
go to a folder of that name.
"""

import contextlib
import sqlite3
import uuid
from pathlib import Path

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.common.errors import UserError

_CONTEXT_TYPE = "gatefold.metadata_store"
_SECONDS_TO_WAIT = 5


def identity(file: Path) -> str:
    """Returns the name of a metadata store, which is created if missing.

    Args:
      file: The SQLite file.

    Returns:
      12 hexadecimal digits, constant during the life of the file.

    Raises:
      UserError: The file is not a metadata store, cannot be written, or another program holds it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _check_lock(file)
        with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(file))) as handle:
            kind = metadata_store_pb2.ContextType(name=_CONTEXT_TYPE)
            type_id = handle.store.put_context_type(kind)  # the same where it is there already
            contexts = handle.store.get_contexts_by_type(_CONTEXT_TYPE)
            if contexts:
                return str(contexts[0].name)
            name = uuid.uuid4().hex[:12]
            handle.store.put_contexts([metadata_store_pb2.Context(type_id=type_id, name=name)])
            return name
    except (OSError, RuntimeError, errors.StatusError) as error:
        reason = str(error).partition(" query:")[0].strip() or "no reason given"
        raise UserError(
            f"--metadata: {file} cannot be used as a metadata store ({reason}). Give another "
            "file, or delete this one: a run then starts anew"
        ) from error


def _check_lock(file: Path) -> None:
    """Refuses a store that another program has locked: ML Metadata would wait for minutes."""
    if not file.is_file():
        return
    store = sqlite3.connect(file, timeout=_SECONDS_TO_WAIT, isolation_level=None)
    # What is no store: ML Metadata says what it is.
    with contextlib.closing(store), contextlib.suppress(sqlite3.DatabaseError):
        try:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise UserError(
                    f"--metadata: another program holds {file}: wait until it ends, or give "
                    "another file"
                ) from error
