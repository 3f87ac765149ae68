"""Publishes versions in a serving folder: a run's model, or an earlier version's again."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.common import files, release_log
from components.common.errors import UserError
from components.common.release_check import version_faults
from components.common.release_log import (
    LOG_FILE,
    PROMOTE,
    PUSH,
    ROLLBACK,
    WITHDRAW,
    Entry,
    Log,
    Staged,
    model_checksum,
)
from components.common.release_reading import (
    RELEASE_FILE,
    checksums,
    evidence_checksum,
    evidence_of,
    newest_version,
    own_files,
    pending_lines,
    read_release,
    version_folders,
    versions,
)
from components.common.release_writing import alone, write_version

__all__ = [
    "LOG_FILE",
    "RELEASE_FILE",
    "JudgedAgainst",
    "Push",
    "checksums",
    "model_checksum",
    "newest_version",
    "promote",
    "push",
    "read_release",
    "rollback",
    "versions",
]

# Written anew for every version.
_OF_ONE_VERSION = ("version", "pushed_at", "files", "evidence", "log", "source_version")


@dataclasses.dataclass(frozen=True)
class Push:
    """Result of `push`, `rollback` and `promote`.

    Attributes:
      version: Newest version after the call; 0 if there is none.
      path: Its folder.
      written: Whether this call wrote it; False if it was there already.
      refusal: Why the model was not published; "" if it is in production.
      log_head: SHA-256 of the release log's last line.
    """

    version: int
    path: str
    written: bool
    refusal: str = ""
    log_head: str = ""


@dataclasses.dataclass(frozen=True)
class JudgedAgainst:
    """What was in production when a model was judged.

    Attributes:
      version: The newest version's number; None if there was none.
      checksum: Of its model's files; "" if they could not be read.
      problem: Why it is not known what was in production; "" if it is.
    """

    version: int | None
    checksum: str = ""
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class _Model:
    """What is published: files by their path in the version, and what `release.json` says."""

    sources: Mapping[str, str]
    files: Mapping[str, str]
    evidence: Mapping[str, str]
    facts: Mapping[str, Any]


def push(
    model: str,
    base: str,
    *,
    release: Mapping[str, Any],
    evidence: Mapping[str, str] | None = None,
    judged_against: JudgedAgainst | None = None,
) -> Push:
    """Makes a SavedModel the newest version in a serving folder, unless it is that already.

    It is if the model's files in the newest version equal those of `model` byte for byte. So a
    version that was altered, replaced or partly deleted is pushed again. A model that was withdrawn
    by a rollback is not pushed, and none where production has changed since it was judged.

    Args:
      model: Folder of the SavedModel.
      base: The serving folder; made where it is missing.
      release: Content of `release.json` beside version, time and checksums.
      evidence: Further files of the version: where each is, by its path in the version
        ("assets.extra/report.json").
      judged_against: What was in production when the model was judged; None if nobody asked.

    Raises:
      UserError: The disk is full, or the folder cannot be written to. Nothing has changed then.
    """
    base, model = base.rstrip("/"), model.rstrip("/")
    own = checksums(model)
    evidence = dict(evidence or {})
    if both := sorted(own.keys() & evidence.keys()):
        raise ValueError(f"the model has files of the names that evidence takes: {both}")
    with alone(base) as require_lock:
        log = _healed(base)
        newest = newest_version(base)
        if newest is not None and _holds(f"{base}/{newest}", own):
            return Push(newest, f"{base}/{newest}", written=False, log_head=log.head)
        if model_checksum(own) in log.withdrawn():
            refusal = _withdrawn_text(base, log, model_checksum(own))
        else:
            refusal = _changed_text(base, newest, log, judged_against)
        if refusal:
            path = f"{base}/{newest}" if newest else ""
            return Push(newest or 0, path, written=False, refusal=refusal, log_head=log.head)
        sources = {**{name: f"{model}/{name}" for name in own}, **evidence}
        digests = {name: files.sha256(path) for name, path in evidence.items()}
        return _publish(
            _Model(sources, own, digests, release), base, log, require_lock, action=PUSH
        )


def rollback(base: str, *, to: int | None = None) -> Push:
    """Publishes an earlier version's model again, and withdraws the one in production.

    Servers follow the newest version, so the earlier one's files get the next number.

    Args:
      base: The serving folder.
      to: Which version; by default the newest with another model that is not withdrawn.

    Raises:
      UserError: There is no such version, it was altered, or it holds the model in production.
    """
    base = base.rstrip("/")
    _require_newest(base)
    with alone(base) as require_lock:
        log = _healed(base)
        newest = _require_newest(base)
        bad = _identity(base, newest, log)
        target = _earlier(base, log, bad.checksum) if to is None else to
        model = _released(base, target, log)
        if model_checksum(model.files) == bad.checksum:
            raise UserError(
                f"version {target} holds the same model as version {newest}, which is in "
                "production: choose another with --to"
            )
        withdraw = dataclasses.replace(bad, action=WITHDRAW, replaces=None, source=None)
        return _publish(
            model, base, log, require_lock, action=ROLLBACK, source=target, before=[withdraw]
        )


def promote(base: str, version: int) -> Push:
    """Publishes an earlier version's model again, even one that a rollback withdrew.

    Args:
      base: The serving folder.
      version: Which version.

    Raises:
      UserError: There is no such version, or it was altered.
    """
    base = base.rstrip("/")
    _require_newest(base)
    with alone(base) as require_lock:
        log = _healed(base)
        newest = _require_newest(base)
        model = _released(base, version, log)
        if _holds(f"{base}/{newest}", model.files):
            return Push(newest, f"{base}/{newest}", written=False, log_head=log.head)
        return _publish(model, base, log, require_lock, action=PROMOTE, source=version)


def _publish(
    model: _Model,
    base: str,
    log: Log,
    require_lock: Callable[[], None],
    *,
    action: str,
    source: int | None = None,
    before: Sequence[Entry] = (),
) -> Push:
    newest = newest_version(base)
    version = max(int(time.time()), max(version_folders(base), default=0) + 1)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    contents: dict[str, Any] = {**model.facts, "version": version, "pushed_at": moment}
    if source is not None:
        contents["source_version"] = source
    contents |= {"files": dict(model.files), "evidence": dict(model.evidence)}
    entry = Entry(
        sequence=0,
        time=moment,
        action=action,
        version=version,
        replaces=newest,
        source=source,
        run_id=str(model.facts.get("run_id", "")),
        model=str(model.facts.get("model", "")),
        checksum=model_checksum(model.files),
        evidence=evidence_checksum(contents),
        previous="",
    )
    lines = []
    for line in (*(dataclasses.replace(line, time=moment) for line in before), entry):
        lines.append(log.next(line))
        log = log.extended(lines[-1:])
    contents["log"] = [dataclasses.asdict(line) for line in lines]
    write_version(
        model.sources,
        base,
        version,
        required={**model.files, **model.evidence},
        release=json.dumps(contents, indent=2),
        log=log,
        require_lock=require_lock,
    )
    return Push(version, f"{base}/{version}", written=True, log_head=log.head)


def _healed(base: str) -> Log:
    """The log, after adding what a push that was killed could not add."""
    log = release_log.read(base)
    if pending := pending_lines(base, log):
        log = log.extended(pending)
        Staged(base, log).commit()
    return log


def _holds(version: str, own: Mapping[str, str]) -> bool:
    """Whether a version's own files, and its own record of them, are these."""
    release = read_release(version)
    return release.get("files") == own and own_files(checksums(version), release) == own


def _released(base: str, version: int, log: Log) -> _Model:
    """A version to be published again, checked.

    Raises:
      UserError: It is not there, or is not what was released.
    """
    if version not in versions(base):
        there = ", ".join(map(str, versions(base)))
        raise UserError(f"{base} has no version {version}. It has: {there}")
    if faults := version_faults(base, version, log):
        raise UserError(f"version {version} cannot be published again: {faults[0]}")
    folder = f"{base}/{version}"
    release = read_release(folder)
    own, evidence = release["files"], evidence_of(release)
    return _Model(
        {name: f"{folder}/{name}" for name in (*own, *evidence)},
        own,
        evidence,
        {name: value for name, value in release.items() if name not in _OF_ONE_VERSION},
    )


def _identity(base: str, version: int, log: Log) -> Entry:
    """What is known of a version, even of one that was altered since."""
    if (entry := log.published(version)) is not None:
        return entry
    release = read_release(f"{base}/{version}")
    own = release.get("files")
    if not isinstance(own, dict):
        own = own_files(checksums(f"{base}/{version}"), release)
    run_id, model = str(release.get("run_id", "")), str(release.get("model", ""))
    return Entry(
        0, "", PUSH, version, None, None, run_id, model, model_checksum(own), "", previous=""
    )


def _earlier(base: str, log: Log, checksum: str) -> int:
    withdrawn = log.withdrawn()
    for version in reversed(versions(base)):
        found = _identity(base, version, log).checksum
        if found != checksum and found not in withdrawn:
            return version
    raise UserError(
        f"{base} has no earlier version with another model that was not withdrawn; choose one "
        "with --to"
    )


def _require_newest(base: str) -> int:
    newest = newest_version(base)
    if newest is None:
        raise UserError(f"{base} holds no versions: `make run` trains and pushes one")
    return newest


def _changed_text(
    base: str, newest: int | None, log: Log, judged_against: JudgedAgainst | None
) -> str:
    """Says that production is another model than the one that was compared; "" if it is not."""
    if newest is None or judged_against is None or newest == judged_against.version:
        return ""
    if judged_against.checksum == _identity(base, newest, log).checksum:
        return ""
    before = judged_against.version
    if before is None and judged_against.problem:
        return (
            f"version {newest} is in production, which this run could not read when it judged its "
            f"models ({judged_against.problem}); run again, and they are compared with it"
        )
    return (
        f"version {newest} came into production while this run judged its models against "
        f"{'an empty serving folder' if before is None else f'version {before}'}; run again, and "
        f"they are compared with version {newest}"
    )


def _withdrawn_text(base: str, log: Log, checksum: str) -> str:
    version = max(
        entry.version
        for entry in log.entries
        if entry is not None and entry.action == WITHDRAW and entry.checksum == checksum
    )
    return (
        f"this model was withdrawn by a rollback, as version {version}; "
        f"`python -m serving.release promote {version} --base {base}` allows it again"
    )
