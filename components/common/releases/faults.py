"""What is wrong with a serving folder: altered files, and a log that the versions contradict."""

import dataclasses
from collections.abc import Iterable, Mapping

from components.common import files, foreign_json
from components.common.releases.contents import Contents
from components.common.releases.records import (
    LOG_FILE,
    MODEL_FILE,
    RELEASE_FILE,
    Release,
    checksums,
    model_checksum,
)

_REPORT_FILE = "assets.extra/report.json"
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of `ReleaseStore.verify`; one sentence each.

    Attributes:
      versions: What is wrong with each version that was checked, by its number.
      log: What is wrong with the log.
      notes: What is worth knowing, and no fault.
    """

    versions: Mapping[int, list[str]]
    log: list[str]
    notes: list[str]

    @property
    def faults(self) -> list[str]:
        """All that is wrong."""
        return [*(text for texts in self.versions.values() for text in texts), *self.log]


def verify(contents: Contents, versions: Iterable[int]) -> Verification:
    """Compares versions with their checksums, and the log with all versions."""
    checked = {version: version_faults(contents, version) for version in versions}
    return Verification(checked, _log_faults(contents), _notes(contents))


def version_faults(contents: Contents, version: int) -> list[str]:
    """Compares a version with its checksums, with its change and with what was judged."""
    folder = contents.folder(version)
    if version not in contents.folders:
        return [f"version {version} is not there"]
    if version not in contents.versions:
        return [_broken_off(version)]
    release = contents.release(version)
    if release.problem or not release.files:
        problem = release.problem or f"{RELEASE_FILE} lists no files"
        return [f"version {version}: {problem}"]
    present = checksums(folder)
    faults = _differences({**release.files, **release.evidence}, present)
    change = release.change
    if change is not None and change.evidence != release.evidence_checksum:
        faults.append(f"{RELEASE_FILE} or the evidence that it names was altered")
    own = model_checksum({name: present.get(name, "") for name in release.files})
    if not faults and change is not None and change.checksum != own:
        faults.append(f"{RELEASE_FILE} states other files than were published")
    if not faults and _judged_checksum(folder, release) not in ("", own):
        faults.append(f"{_REPORT_FILE} is about another model than this one")
    return [f"version {version}: {fault}" for fault in faults]


def _log_faults(contents: Contents) -> list[str]:
    faults = []
    newest, changes = contents.newest or 0, contents.changes
    if unreadable := contents.lines.count(None):
        faults.append(f"{unreadable} of the lines of {LOG_FILE} cannot be read")
    faults += [
        f"{LOG_FILE} says {change.action} of version {change.version} at {change.time}, which "
        "that version does not bear out: the line was added or altered"
        for change in filter(None, contents.lines)
        if change.version in contents.versions and change != changes[change.version]
    ]
    if (last := max(_gone(contents), default=0)) > newest:
        serving = f"servers answer with version {newest}" if newest else "nothing is there"
        faults.append(f"{LOG_FILE} says that version {last} is in production, but {serving}")
    if newest and changes and newest not in changes:
        faults.append(
            f"version {newest} is the newest, so servers answer with it, but {LOG_FILE} does not "
            "name it"
        )
    return faults


def _notes(contents: Contents) -> list[str]:
    notes = [_broken_off(number) for number in contents.folders if number not in contents.versions]
    gone = _gone(contents)
    if gone and max(gone) < (contents.newest or 0):
        notes.append(f"{LOG_FILE} names versions that are not there any more: {_some(gone)}")
    if contents.log is None:
        notes.append(f"there is no {LOG_FILE}; the next change makes it from the versions")
    elif missing := [change.version for change in contents.unlogged]:
        notes.append(
            f"{LOG_FILE} lacks the line of version {_some(missing)}; the next change adds it"
        )
    return notes


def _gone(contents: Contents) -> list[int]:
    return [version for version in contents.changes if version not in contents.folders]


def _broken_off(number: int) -> str:
    return (
        f"folder {number} is no version: it has no {MODEL_FILE}, so no server can load it, and "
        f"{LOG_FILE} does not name it. A push that broke off left it; delete it"
    )


def _differences(expected: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    altered = [name for name in expected if name in present and present[name] != expected[name]]
    missing = [name for name in expected if name not in present]
    added = [name for name in present if name not in expected]
    kinds = {"was altered": altered, "is missing": missing, "was added": added}
    return [f"{_some(names)} {kind}" for kind, names in kinds.items() if names]


def _some(names: Iterable[object]) -> str:
    texts = sorted(map(str, names))
    more = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _judged_checksum(folder: str, release: Release) -> str:
    """The checksum of the model that the version's report judged; "" if none says it."""
    path = f"{folder}/{_REPORT_FILE}"
    if not files.exists(path):
        return ""
    try:
        report = foreign_json.parse(files.read_bytes(path, foreign_json.MAX_BYTES + 1))
        checksum = report["models"][release.network]["checksum"]
    except (foreign_json.ForeignJsonError, LookupError, TypeError):
        return ""
    return checksum if isinstance(checksum, str) else ""
