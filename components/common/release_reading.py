"""What a serving folder (TF Serving's layout) holds: its versions, and what each says of itself.

genre/1795333142/saved_model.pb, variables/, assets/, assets.extra/
genre/1795333142/assets.extra/release.json    origin, figures, SHA-256 of every other file
genre/releases.jsonl                          what was in production when (`release_log`)
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from components.common import files, release_log
from components.common.release_log import Entry, Log, model_checksum

RELEASE_FILE = "assets.extra/release.json"
MODEL_FILE = "saved_model.pb"

_VERSION = re.compile(r"\d+")
# What TensorFlow's loaders look for; a folder with neither is no SavedModel to any server.
_LOADABLE = (MODEL_FILE, "saved_model.pbtxt")


def version_folders(base: str) -> list[int]:
    """Numbers of all version folders in a serving folder, in order; none without the folder.

    Among them may be what a push to an object store left that broke off: see `versions`.
    """
    if not files.exists(base):
        return []
    return sorted(int(name) for name in files.names(base) if _VERSION.fullmatch(name))


def versions(base: str) -> list[int]:
    """Numbers of the versions in a serving folder, in order; none without the folder.

    A version is a folder that a server can load, or one that the release log names: it was
    complete once, and was altered since. A numbered folder that is neither was never in production.
    """
    return [number for number in version_folders(base) if is_version(base, number)]


def newest_version(base: str) -> int | None:
    """The highest of `versions`; None if there is none."""
    folders = reversed(version_folders(base))
    return next((number for number in folders if is_version(base, number)), None)


def is_version(base: str, number: int) -> bool:
    """Whether a version folder is a version, in the sense of `versions`."""
    base = base.rstrip("/")
    if any(files.exists(f"{base}/{number}/{name}") for name in _LOADABLE):
        return True
    return release_log.read(base).published(number) is not None


def checksums(folder: str) -> dict[str, str]:
    """SHA-256, in hexadecimal, of every file below a folder by its relative path.

    `release.json` is left out: it holds these checksums.
    """
    folder = folder.rstrip("/")
    return {
        name: files.sha256(f"{folder}/{name}")
        for name in files.files_below(folder)
        if name != RELEASE_FILE
    }


def read_release(version: str) -> dict[str, Any]:
    """Reads `release.json` of a version; empty if it is missing or unreadable."""
    path = f"{version.rstrip('/')}/{RELEASE_FILE}"
    if not files.exists(path):
        return {}
    try:
        with files.open_file(path, "r") as file:
            release = json.loads(file.read())
    except ValueError:
        return {}
    return release if isinstance(release, dict) else {}


def own_files(found: Mapping[str, str], release: Mapping[str, Any]) -> dict[str, str]:
    """The model's own files: those of a version without the evidence that came with its push.

    Args:
      found: The version's files, as `checksums` gives them.
      release: The version's `release.json`.
    """
    evidence = evidence_of(release)
    return {name: digest for name, digest in found.items() if name not in evidence}


def evidence_of(release: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the evidence that a version came with, by path; empty for older versions."""
    evidence = release.get("evidence")
    if not isinstance(evidence, dict):
        return {}
    return {name: str(digest) for name, digest in evidence.items() if name.startswith("assets.")}


def evidence_checksum(release: Mapping[str, Any]) -> str:
    """One SHA-256 for a version's evidence and for what its `release.json` states."""
    facts = {name: value for name, value in release.items() if name != "log"}
    text = json.dumps(facts, sort_keys=True).encode()
    return model_checksum({**evidence_of(release), RELEASE_FILE: hashlib.sha256(text).hexdigest()})


def logged_lines(release: Mapping[str, Any]) -> list[Entry]:
    """A version's own copy of its lines in the release log; none for older versions."""
    lines = release.get("log")
    entries = [Entry.of(line) for line in lines] if isinstance(lines, list) else []
    return [entry for entry in entries if entry is not None]


def pending_lines(base: str, log: Log) -> list[Entry]:
    """Lines that the newest version holds and the log lacks, because a push was killed between.

    Only lines that follow exactly from the log's last one.
    """
    newest = newest_version(base)
    if newest is None:
        return []
    lines = logged_lines(read_release(f"{base.rstrip('/')}/{newest}"))
    head, length = log.head, len(log.lines)
    for line in lines:
        if (line.previous, line.sequence) != (head, length + 1):
            return []
        log = log.extended([line])
        head, length = log.head, len(log.lines)
    return lines
