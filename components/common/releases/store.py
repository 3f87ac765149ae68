"""`ReleaseStore`: all that reads or changes a serving folder (TF Serving's layout)."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.releases.contents import Contents, Row
from components.common.releases.faults import Verification, verify, version_faults
from components.common.releases.records import (
    LARGEST_VERSION,
    PROMOTE,
    PUSH,
    ROLLBACK,
    Change,
    Release,
    checksums,
    model_checksum,
    read_release,
)
from components.common.releases.writing import Writer, locked

# Written anew for every version.
_OF_ONE_VERSION = (
    *("version", "pushed_at", "files", "evidence", "log", "source_version"),
    "withdrawn",  # of versions before 2026-11-25
)


@dataclasses.dataclass(frozen=True)
class Push:
    """Result of `ReleaseStore.push`, `rollback` and `promote`.

    Attributes:
      version: Newest version after the call; 0 if there is none.
      path: Its folder.
      written: Whether this call wrote it; False if it was there already.
      refusal: Why the model was not published; "" if it is in production.
      remarks: A sentence for each version that a rollback passed over.
    """

    version: int
    path: str
    written: bool
    refusal: str = ""
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class JudgedAgainst:
    """What was in production when a model was judged.

    Attributes:
      version: The newest version's number; None if none could be read.
      checksum: Of its model's files; "" if they could not be read.
    """

    version: int | None
    checksum: str = ""


@dataclasses.dataclass(frozen=True)
class _Model:
    """What is published: files by their path in the version, and what `release.json` says."""

    sources: Mapping[str, str]
    files: Mapping[str, str]
    evidence: Mapping[str, str]
    facts: Mapping[str, Any]


class ReleaseStore:
    """A serving folder: its versions, its log, and how they change.

    A local folder is read without TensorFlow, so that commands start at once.

    Attributes:
      base: The folder of version folders; a path, gs:// or s3://.

    Examples:
      >>> store = ReleaseStore("an empty folder/serving/genre")
      >>> store.folder(1), store.versions(), store.newest()
      ('an empty folder/serving/genre/1', [], None)
    """

    def __init__(self, base: str) -> None:
        """Reads nothing yet."""
        self.base = base.rstrip("/")

    def folder(self, version: int) -> str:
        """The folder of a version."""
        return f"{self.base}/{version}"

    def versions(self) -> list[int]:
        """Numbers of the versions, in order; none without the folder.

        Raises:
          OSError: The folder cannot be read.
        """
        return Contents(self.base).versions

    def newest(self) -> int | None:
        """The version that servers answer with, the highest; None if there is none.

        Raises:
          OSError: The folder cannot be read.
        """
        return Contents(self.base).newest

    def require(self, version: int | None = None) -> int:
        """The number of a version that is there, by default the newest.

        Raises:
          UserError: There is no such version, or the folder cannot be read.
        """
        try:
            return Contents(self.base).required(version)
        except OSError as error:
            raise UserError(f"{self.base} cannot be read: {error.strerror or error}") from error

    def release(self, version: int) -> Release:
        """What a version says of itself; a release without fields if it cannot be read."""
        return read_release(self.folder(version), version)

    def history(self) -> list[Row]:
        """Every version that is there or that the log names, the oldest first."""
        return Contents(self.base).history()

    def verify(self, versions: Iterable[int]) -> Verification:
        """Compares versions with their checksums, and the log with all versions."""
        return verify(Contents(self.base), versions)

    def push(
        self,
        model: str,
        *,
        release: Mapping[str, Any],
        evidence: Mapping[str, str] | None = None,
        judged_against: JudgedAgainst | None = None,
    ) -> Push:
        """Makes a SavedModel the newest version, unless it is that already, byte for byte.

        A model that a rollback withdrew is not pushed, and none where production has changed since
        it was judged.

        Args:
          model: Folder of the SavedModel.
          release: Content of `release.json` beside version, time and checksums.
          evidence: Further files of the version: where each is, by its path in the version
            ("assets.extra/report.json").
          judged_against: What was in production when the model was judged; None if nobody asked.

        Raises:
          UserError: The disk is full, or the folder cannot be written to. Nothing has changed.
        """
        model = model.rstrip("/")
        own = checksums(model)
        evidence = dict(evidence or {})
        if both := sorted(own.keys() & evidence.keys()):
            raise ValueError(f"the model has files of the names that evidence takes: {both}")
        with locked(self.base) as writer:
            contents = Contents(self.base)
            if contents.newest is not None and _holds(contents, contents.newest, own):
                return _unchanged(writer, contents)
            if refusal := _refusal(contents, model_checksum(own), judged_against):
                return _unchanged(writer, contents, refusal)
            sources = {**{name: f"{model}/{name}" for name in own}, **evidence}
            digests = {name: files.sha256(path) for name, path in evidence.items()}
            return _publish(writer, contents, _Model(sources, own, digests, release), PUSH)

    def rollback(self, to: int | None = None) -> Push:
        """Publishes an earlier version's model again, and withdraws the one in production.

        Args:
          to: Which version; by default the newest with another model that is intact and not
            withdrawn.

        Raises:
          UserError: There is no such version, it was altered, or it holds the model in production.
        """
        self.require()
        with locked(self.base) as writer:
            contents = Contents(self.base)
            newest = contents.required()
            bad = contents.identity(newest).checksum
            remarks: list[str] = []
            source = _earlier(contents, bad, remarks) if to is None else contents.required(to)
            model = _released(contents, source)
            if model_checksum(model.files) == bad:
                raise UserError(
                    f"version {source} holds the same model as version {newest}, which is in "
                    "production: choose another with --to"
                )
            return _publish(writer, contents, model, ROLLBACK, source, bad, tuple(remarks))

    def promote(self, version: int) -> Push:
        """Publishes an earlier version's model again, even one that a rollback withdrew.

        Raises:
          UserError: There is no such version, or it was altered.
        """
        self.require(version)
        with locked(self.base) as writer:
            contents = Contents(self.base)
            model = _released(contents, contents.required(version))
            if _holds(contents, contents.required(), model.files):
                return _unchanged(writer, contents)
            return _publish(writer, contents, model, PROMOTE, version)


def _unchanged(writer: Writer, contents: Contents, refusal: str = "") -> Push:
    if contents.unlogged:
        writer.write_log(_log(contents))
    newest = contents.newest
    path = contents.folder(newest) if newest else ""
    return Push(newest or 0, path, written=False, refusal=refusal)


def _publish(
    writer: Writer,
    contents: Contents,
    model: _Model,
    action: str,
    source: int | None = None,
    withdraws: str = "",
    remarks: tuple[str, ...] = (),
) -> Push:
    version = max(int(time.time()), contents.highest + 1)
    if version > LARGEST_VERSION:
        raise UserError(
            f"{contents.base} has no number left for a new version: delete the folder "
            f"{contents.folders[-1]}"
        )
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stated = {
        **model.facts,
        "version": version,
        "pushed_at": moment,
        **({} if source is None else {"source_version": source}),
        "files": dict(model.files),
        "evidence": dict(model.evidence),
    }
    # As it will be read again: a path of the data may hold what no JSON text can.
    text = json.dumps(stated, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    release = Release(version, foreign_json.parse(text))
    change = Change(
        time=moment,
        action=action,
        version=version,
        replaces=contents.newest,
        source=source,
        run_id=release.run_id,
        model=release.network,
        checksum=model_checksum(model.files),
        evidence=release.evidence_checksum,
        withdraws=withdraws,
    )
    fields = {**release.fields, "log": [dataclasses.asdict(change)]}
    writer.write_version(
        version,
        sources=model.sources,
        required={**model.files, **model.evidence},
        release=json.dumps(fields, indent=2).encode(),
        log=_log(contents) + change.line(),
    )
    return Push(version, contents.folder(version), written=True, remarks=remarks)


def _log(contents: Contents) -> bytes:
    """The log with the lines that it lacks."""
    log = contents.log or b""
    end = b"" if not log or log.endswith(b"\n") else b"\n"
    return log + end + b"".join(change.line() for change in contents.unlogged)


def _holds(contents: Contents, version: int, own: Mapping[str, str]) -> bool:
    """Whether a version's own files, and its own record of them, are these."""
    release = contents.release(version)
    if release.files != own:
        return False
    present = checksums(contents.folder(version))
    return {name: present[name] for name in present if name not in release.evidence} == own


def _released(contents: Contents, version: int) -> _Model:
    """A version to be published again, checked.

    Raises:
      UserError: It is not what was released.
    """
    if faults := version_faults(contents, version):
        raise UserError(f"version {version} cannot be published again: {faults[0]}")
    folder, release = contents.folder(version), contents.release(version)
    return _Model(
        {name: f"{folder}/{name}" for name in (*release.files, *release.evidence)},
        release.files,
        release.evidence,
        {name: value for name, value in release.fields.items() if name not in _OF_ONE_VERSION},
    )


def _earlier(contents: Contents, checksum: str, remarks: list[str]) -> int:
    for version in reversed(contents.versions):
        other = contents.identity(version).checksum
        if other == checksum or other in contents.withdrawn:
            continue
        faults = version_faults(contents, version)
        if not faults:
            return version
        remarks.append(f"passed over: {faults[0]}")
    raise UserError(
        f"{contents.base} has no earlier intact version with another model that was not withdrawn; "
        f"`list` shows them, and --to chooses one{''.join(f' ({remark})' for remark in remarks)}"
    )


def _refusal(contents: Contents, checksum: str, judged_against: JudgedAgainst | None) -> str:
    """Why a model must not be pushed, as one sentence; "" if it may."""
    if (held := contents.withdrawn.get(checksum)) is not None:
        return (
            f"this model was withdrawn by a rollback, as version {held}; `python -m "
            f"serving.release promote {held} --base {contents.base}` allows it again"
        )
    newest = contents.newest
    if newest is None or judged_against is None or newest == judged_against.version:
        return ""
    if judged_against.checksum == contents.identity(newest).checksum:
        return ""
    return (
        f"version {newest} is in production, and this run judged its models against "
        f"{judged_against.version or 'none'}; run again, and they are compared with it"
    )
