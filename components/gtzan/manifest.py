"""The manifest that marks a folder of composed music, wherever it is copied."""

import json
from pathlib import Path

MANIFEST = "sample.json"


def is_composed(folder: str | Path) -> bool:
    """Tells whether the music of a local folder was composed by Gatefold.

    Args:
      folder: The folder that the user named.
    """
    try:
        return is_manifest((Path(folder) / MANIFEST).read_bytes())
    except OSError:
        return False


def is_manifest(data: bytes) -> bool:
    """Tells whether a file's content is a manifest of `write_sample`."""
    try:
        manifest = json.loads(data)
    except ValueError:
        return False
    return isinstance(manifest, dict) and "composer" in manifest
