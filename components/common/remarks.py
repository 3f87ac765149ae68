"""What a node has to say to whoever reads the end of the run, kept with its artifact.

In `common` because trainers write it, and RunRecorder and the runner read it.
"""

import json
from collections.abc import Sequence

from tfx.dsl.io import fileio

REMARKS_FILE = "remarks.json"


def write(folder: str, remarks: Sequence[str]) -> None:
    """Writes sentences into a folder, which may be in an object store; nothing without any."""
    if not remarks:
        return
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{REMARKS_FILE}", "w") as file:
        file.write(json.dumps(list(remarks), indent=2, ensure_ascii=False))


def read(folder: str) -> tuple[str, ...]:
    """Reads what `write` wrote; none where it wrote nothing."""
    if not fileio.exists(f"{folder}/{REMARKS_FILE}"):
        return ()
    with fileio.open(f"{folder}/{REMARKS_FILE}") as file:
        return tuple(json.loads(file.read()))
