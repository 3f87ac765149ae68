"""`ReleaseStore`: all that reads or changes a serving folder (TF Serving's layout)."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.releases.contents import Contents, Row, withdrawn_after
from components.common.releases.faults import Verification, log_faults, version_faults
from components.common.releases.records import (
    LARGEST_VERSION,
    LOG_FILE,
    PROMOTE,
    PUSH,
    ROLLBACK,
    Change,
    Release,
    checksums,
    model_checksum,
    read_release,
)
from components.common.releases.writing import NewVersion, Writer, locked

# Written anew for every version.
_OF_ONE_VERSION = ("version", "pushed_at", "files", "evidence", "log", "source_version")


@dataclasses.dataclass(frozen=True)
class Push:
    """Result of `ReleaseStore.push`, `rollback` and `promote`.

    Attributes:
      version: Newest version after the call; 0 if there is none.
      path: Its folder.
      written: Whether this call wrote it; False if it was there already.
      refusal: Why the model was not published; "" if it is in production.
      remarks: Sentences about what else the call met, such as a missing log.
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


class ReleaseStore:
    """A serving folder: its versions, its log, and how they change.

    A local folder is read without TensorFlow, so that commands start at once.

    Attributes:
      base: The folder of version folders; a path, gs:// or s3://.
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
        contents = Contents(self.base)
        checked = {version: version_faults(contents, version) for version in versions}
        return Verification(checked, *log_faults(contents))

    def push(
        self,
        model: str,
        *,
        release: Mapping[str, Any],
        evidence: Mapping[str, str] | None = None,
        judged_against: JudgedAgainst | None = None,
    ) -> Push:
        """Makes a SavedModel the newest version, unless it is that already.

        It is if the model's files in the newest version equal those of `model` byte for byte. So a
        version that was altered, replaced or partly deleted is pushed again. A model that was
        withdrawn by a rollback is not pushed, and none where production has changed since it was
        judged.

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
            refusal = _withdrawn_text(contents, model_checksum(own)) or _changed_text(
                contents, judged_against
            )
            if refusal:
                return _unchanged(writer, contents, refusal)
            sources = {**{name: f"{model}/{name}" for name in own}, **evidence}
            digests = {name: files.sha256(path) for name, path in evidence.items()}
            return _publish(writer, contents, _Model(sources, own, digests, release), PUSH)

    def rollback(self, to: int | None = None) -> Push:
        """Publishes an earlier version's model again, and withdraws the one in production.

        Servers follow the newest version, so the earlier one's files get the next number.

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
    remarks = _log_remarks(contents)
    if contents.unlogged:
        writer.write_log(_log(contents))
    newest = contents.newest
    path = contents.folder(newest) if newest else ""
    return Push(newest or 0, path, written=False, refusal=refusal, remarks=remarks)


def _publish(
    writer: Writer,
    contents: Contents,
    model: _Model,
    action: str,
    source: int | None = None,
    withdraws: str = "",
    remarks: tuple[str, ...] = (),
) -> Push:
    version = max(int(time.time()), max(contents.folders, default=0) + 1)
    if version > LARGEST_VERSION:
        raise UserError(
            f"{contents.base} has no number left for a new version: delete the folder "
            f"{contents.folders[-1]}"
        )
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stated: dict[str, Any] = {**model.facts, "version": version, "pushed_at": moment}
    if source is not None:
        stated["source_version"] = source
    change = Change(
        time=moment,
        action=action,
        version=version,
        replaces=contents.newest,
        source=source,
        run_id="",
        model="",
        checksum=model_checksum(model.files),
        evidence="",
        withdraws=withdraws,
    )
    stated |= {"files": dict(model.files), "evidence": dict(model.evidence)}
    stated["withdrawn"] = withdrawn_after(change, contents.withdrawn)
    # As it will be read again: a path of the data may hold what no JSON text can.
    text = json.dumps(stated, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    stated = foreign_json.parse(text)
    release = Release(version, stated)
    change = dataclasses.replace(
        change,
        run_id=release.run_id,
        model=release.network,
        evidence=release.evidence_checksum,
    )
    stated["log"] = [dataclasses.asdict(change)]
    new = NewVersion(
        number=version,
        sources=model.sources,
        required={**model.files, **model.evidence},
        release=json.dumps(stated, indent=2).encode(),
    )
    writer.write_version(new, log=_log(contents) + change.line())
    remarks += _log_remarks(contents)
    return Push(version, contents.folder(version), written=True, remarks=remarks)


def _log(contents: Contents) -> bytes:
    """The log with the lines that it lacks."""
    log = contents.log or b""
    ended = log if not log or log.endswith(b"\n") else log + b"\n"
    return ended + b"".join(change.line() for change in contents.unlogged)


def _log_remarks(contents: Contents) -> tuple[str, ...]:
    if contents.log is not None or not contents.unlogged:
        return ()
    return (f"{LOG_FILE} was missing in {contents.base}: it was made again from the versions",)


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
    """The newest intact version with a model that is not withdrawn, nor the one given."""
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


def _changed_text(contents: Contents, judged_against: JudgedAgainst | None) -> str:
    """Says that production is another model than the one that was compared; "" if it is not."""
    newest = contents.newest
    if newest is None or judged_against is None or newest == judged_against.version:
        return ""
    if judged_against.checksum == contents.identity(newest).checksum:
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


def _withdrawn_text(contents: Contents, checksum: str) -> str:
    """Says that a rollback withdrew a model; "" if none did."""
    version = contents.withdrawn.get(checksum)
    if version is None:
        return ""
    return (
        f"this model was withdrawn by a rollback, as version {version}; `python -m serving.release "
        f"promote {version} --base {contents.base}` allows it again"
    )
