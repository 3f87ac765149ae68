"""Files that are installed beside the packages: the curated schema."""

from pathlib import Path

_INSTALLED = Path(__file__).resolve().parents[2]

SCHEMA_FILE = "schemas/gtzan.pbtxt"


def installed_file(name: str) -> Path:
    """Finds a file by its path relative to where Gatefold is installed.

    A node's parameters hold such relative paths, because a run may be compiled on another machine
    than the one that executes the node.

    Args:
      name: A relative path, as `SCHEMA_FILE`; an absolute one is returned as it is.
    """
    return _INSTALLED / name
