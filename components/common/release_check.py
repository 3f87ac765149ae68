"""Checks that a serving folder holds what was judged, and that its release log is intact."""

import json
from collections.abc import Mapping
from typing import Any

from components.common import files
from components.common.release_log import LOG_FILE, PUBLISHING, Log, model_checksum
from components.common.release_reading import (
    MODEL_FILE,
    RELEASE_FILE,
    checksums,
    evidence_checksum,
    evidence_of,
    is_version,
    logged_lines,
    own_files,
    pending_lines,
    read_release,
    version_folders,
    versions,
)

_REPORT_FILE = "assets.extra/report.json"
_MOST_NAMED = 5


def version_faults(base: str, version: int, log: Log) -> list[str]:
    """Compares a version with its checksums, with the log and with what was judged.

    Args:
      base: The serving folder.
      version: One of its versions.
      log: The folder's log.

    Returns:
      What is wrong, one sentence each; empty for a version that is what was released.
    """
    folder = f"{base.rstrip('/')}/{version}"
    if not files.exists(folder):
        return [f"version {version} is not there"]
    if not is_version(base, version):
        return [_broken_off(version)]
    release = read_release(folder)
    if not isinstance(release.get("files"), dict):
        return [f"version {version}: {RELEASE_FILE} is missing or cannot be read"]
    found = checksums(folder)
    expected = {**release["files"], **evidence_of(release)}
    faults = [f"version {version}: {sentence}" for sentence in _differences(expected, found)]
    model = model_checksum(own_files(found, release))
    entry = log.published(version)
    if entry is not None:
        if entry.checksum != model and not faults:
            faults.append(
                f"version {version} holds other files than line {entry.sequence} of {LOG_FILE} says"
            )
        if entry.evidence != evidence_checksum(release):
            faults.append(
                f"version {version}: {RELEASE_FILE} or the evidence that it names is not what line "
                f"{entry.sequence} of {LOG_FILE} says"
            )
    judged = _judged_checksum(folder, release)
    if judged and judged != model and not faults:
        faults.append(f"version {version}: {_REPORT_FILE} is about another model than this one")
    return faults


def log_faults(base: str, log: Log) -> tuple[list[str], list[str]]:
    """Checks the log's chain, and the log against the versions that are there.

    Args:
      base: The serving folder.
      log: Its log.

    Returns:
      What is wrong, and what is worth knowing; one sentence each.
    """
    faults, notes = log.faults(), []
    pending = pending_lines(base, log)
    there = versions(base)
    for version in there:
        for line in logged_lines(read_release(f"{base.rstrip('/')}/{version}")):
            if line in pending:
                continue
            if line.sequence > len(log.lines):
                faults.append(
                    f"{LOG_FILE} ends at line {len(log.lines)}, but version {version} was released "
                    f"with line {line.sequence}: lines were removed"
                )
            elif log.lines[line.sequence - 1] != line.line():
                faults.append(
                    f"line {line.sequence} of {LOG_FILE} was altered: version {version} was "
                    "released with another one"
                )
    notes += [_broken_off(number) for number in version_folders(base) if number not in there]
    if pending:
        notes.append(
            f"version {pending[-1].version} was published, and its process was killed before "
            f"{LOG_FILE} said so; the next push, rollback or promotion adds the line"
        )
    last = max(
        (entry.version for entry in log.entries if entry and entry.action in PUBLISHING), default=0
    )
    newest = there[-1] if there else 0
    if newest > last and not pending:
        if log.lines:
            faults.append(
                f"version {newest} is the newest, so servers answer with it, but {LOG_FILE} does "
                "not name it"
            )
        elif newest and not faults:
            notes.append(f"there is no {LOG_FILE} yet: these versions are older than it")
    elif newest < last:
        serving = f"servers answer with version {newest}" if newest else "nothing is there"
        faults.append(f"{LOG_FILE} says that version {last} is in production, but {serving}")
    return list(dict.fromkeys(faults)), notes


def _broken_off(number: int) -> str:
    return (
        f"folder {number} is no version: it has no {MODEL_FILE}, so no server can load it, and "
        f"{LOG_FILE} does not name it. A push that broke off left it; delete it"
    )


def _differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    altered = [name for name in expected if name in found and found[name] != expected[name]]
    missing = [name for name in expected if name not in found]
    added = [name for name in found if name not in expected]
    kinds = {"was altered": altered, "is missing": missing, "was added": added}
    return [f"{_some(names)} {kind}" for kind, names in kinds.items() if names]


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(sorted(names)[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _judged_checksum(folder: str, release: Mapping[str, Any]) -> str:
    """The checksum of the model that the version's report judged; "" where none says it."""
    path = f"{folder}/{_REPORT_FILE}"
    if not files.exists(path):
        return ""
    try:
        with files.open_file(path, "r") as file:
            checksum = json.loads(file.read())["models"][release.get("model")]["checksum"]
    except (ValueError, LookupError, TypeError):
        return ""
    return checksum if isinstance(checksum, str) else ""
