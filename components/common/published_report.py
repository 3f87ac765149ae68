"""Publishes a run's report with the outcome of the push, which the report itself cannot know.

In `common` because ReleaseReport writes the marker and RunRecorder publishes.
"""

import html
import json
import re
import uuid

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.common.storage import is_remote

MARKER = "<!-- gatefold:outcome -->"
PAGE_FILE = "index.html"
JSON_FILE = "report.json"
CARD_FILE = "model_card.md"
INGEST_FILE = "ingest.html"

_HEADING = re.compile(r"^# .*\n", re.MULTILINE)


def contents(report_uri: str, outcome: str) -> dict[str, str]:
    """Reads a report's files and adds the outcome to each.

    Args:
      report_uri: ReleaseReport's artifact.
      outcome: One sentence as plain text, for example "It is in production as version 3."

    Returns:
      Texts by file name: the ingest report, the JSON with a key `outcome`, the model card with the
      outcome below its heading, and the page with it instead of the marker.
    """
    page, report, card, ingest = (
        io_utils.read_string_file(f"{report_uri}/{name}")
        for name in (PAGE_FILE, JSON_FILE, CARD_FILE, INGEST_FILE)
    )
    heading = _HEADING.search(card)
    start = heading.end() if heading else 0
    return {
        INGEST_FILE: ingest,
        JSON_FILE: json.dumps({**json.loads(report), "outcome": outcome}, indent=2),
        CARD_FILE: f"{card[:start]}\n> {html.escape(outcome, quote=False)}\n{card[start:]}",
        PAGE_FILE: page.replace(MARKER, html.escape(outcome), 1),
    }


def publish(report_uri: str, folder: str, outcome: str) -> None:
    """Writes a report with its outcome to a folder, over what an earlier run published there.

    A file is replaced as a whole, the page last: a reader never sees half of one.

    Args:
      report_uri: ReleaseReport's artifact.
      folder: A local folder or one in an object store; made where it is missing.
      outcome: See `contents`.

    Raises:
      OSError: The folder cannot be written to.
    """
    folder = folder.rstrip("/")
    fileio.makedirs(folder)
    for name, text in contents(report_uri, outcome).items():
        _replace(f"{folder}/{name}", text)


def _replace(path: str, text: str) -> None:
    # An object store shows a file once it is complete; a local disk needs the renaming.
    staging = path if is_remote(path) else f"{path}.{uuid.uuid4().hex[:8]}"
    try:
        with fileio.open(staging, "wb") as file:
            file.write(text.encode())
        if staging != path:
            fileio.rename(staging, path, overwrite=True)
    except BaseException:
        if staging != path and fileio.exists(staging):
            fileio.remove(staging)
        raise
