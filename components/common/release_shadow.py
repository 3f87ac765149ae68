"""Marks a version as the shadow: servers ask it too, and answer without it.

genre/shadow.json    {"version": 1795333142, "since": "2026-11-22T13:50:44Z"}
"""

import json
import time
from pathlib import Path

from components.common import files
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from components.common.releases.writing import locked
from components.common.storage import is_remote

SHADOW_FILE = "shadow.json"


def read_shadow(base: str) -> int | None:
    """The shadow's version; None if there is none, or if the mark cannot be read."""
    path = f"{base.rstrip('/')}/{SHADOW_FILE}"
    if not files.exists(path):
        return None
    try:
        with files.open_file(path, "r") as file:
            version = json.loads(file.read())["version"]
    except (ValueError, LookupError, TypeError):
        return None
    return version if type(version) is int else None


def mark_shadow(base: str, version: int) -> None:
    """Marks a version of a serving folder as its shadow, in place of another.

    Raises:
      UserError: There is no such version, or it is the one in production.
    """
    base = base.rstrip("/")
    there = ReleaseStore(base).versions()
    if version not in there:
        listed = ", ".join(map(str, there)) or "none"
        raise UserError(f"{base} has no version {version}. It has: {listed}")
    if version == there[-1]:
        raise UserError(
            f"version {version} is in production: a shadow is another version, asked beside it"
        )
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = json.dumps({"version": version, "since": since}).encode() + b"\n"
    with locked(base):
        if is_remote(base):
            with files.open_file(f"{base}/{SHADOW_FILE}", "wb") as file:
                file.write(content)
        else:
            staged = Path(base) / f".{SHADOW_FILE}"
            files.write_synced(staged, content)
            staged.rename(Path(base) / SHADOW_FILE)


def unmark_shadow(base: str) -> int | None:
    """Ends the shadow. Returns its version; None if there was none."""
    base = base.rstrip("/")
    version = read_shadow(base)
    with locked(base):
        files.remove(f"{base}/{SHADOW_FILE}")
    return version
