"""The release log: what was in production, from when to when, and who put it there.

    genre/releases.jsonl    one JSON line an action; each holds the SHA-256 of the line before it

A line that is altered, removed or inserted breaks the chain. The version that a line is about holds
a copy of it in `release.json`, so the last line is guarded too, and a line that was not written
because the process was killed can be added later.
"""

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.common import files
from components.common.storage import is_remote

LOG_FILE = "releases.jsonl"
PUSH, ROLLBACK, PROMOTE, WITHDRAW = "push", "rollback", "promote", "withdraw"
PUBLISHING = (PUSH, ROLLBACK, PROMOTE)
_STAGED_LOG = ".releases-"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the log.

    Attributes:
      sequence: Its number, from 1.
      time: When, in UTC: "2026-11-22T13:50:44Z".
      action: "push" (a run published its model), "rollback" or "promote" (a person published an
        earlier version's model again), or "withdraw" (no run may push this model again).
      version: The version that was published or withdrawn.
      replaces: The version that was in production before; None if there was none.
      source: Whose files a rollback or promotion published; None for others.
      run_id: The run that trained or chose the model.
      model: The model's name in the catalog.
      checksum: `model_checksum` of the model's own files.
      evidence: `model_checksum` of the version's evidence and of what `release.json` states.
      previous: SHA-256 of the previous line without its end; "" in the first line.
    """

    sequence: int
    time: str
    action: str
    version: int
    replaces: int | None
    source: int | None
    run_id: str
    model: str
    checksum: str
    evidence: str
    previous: str

    def line(self) -> bytes:
        """The entry as it stands in the log, without the line's end."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode()

    @classmethod
    def of(cls, fields: Any) -> "Entry | None":
        """The entry with these fields; None if fields are missing, unknown or of a wrong type."""
        if not isinstance(fields, Mapping) or fields.keys() != _TYPES.keys():
            return None
        if any(type(fields[name]) not in types for name, types in _TYPES.items()):
            return None
        return cls(**fields)


_OPTIONAL = (int, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    field.name: {int: (int,), str: (str,)}.get(field.type, _OPTIONAL)  # type: ignore[arg-type]
    for field in dataclasses.fields(Entry)
}


@dataclasses.dataclass(frozen=True)
class Log:
    """All lines of a release log, as they stand there.

    Attributes:
      lines: The lines without their ends.
    """

    lines: tuple[bytes, ...] = ()

    @property
    def entries(self) -> list[Entry | None]:
        """Each line's entry; None for a line that cannot be read."""
        return [_parse(line) for line in self.lines]

    @property
    def head(self) -> str:
        """SHA-256 of the last line; "" without one. Who notes it elsewhere can prove the log."""
        return _sha256(self.lines[-1]) if self.lines else ""

    def faults(self) -> list[str]:
        """Where the chain is broken, one sentence each; empty for an intact log."""
        faults, previous = [], ""
        for number, (line, entry) in enumerate(zip(self.lines, self.entries, strict=True), 1):
            if entry is None:
                faults.append(f"line {number} of {LOG_FILE} cannot be read")
            elif entry.previous != previous:
                faults.append(
                    f"line {number} of {LOG_FILE} does not follow from the line before it: a line "
                    "was altered, added or removed there"
                )
            elif entry.sequence != number:
                faults.append(f"line {number} of {LOG_FILE} says that it is line {entry.sequence}")
            previous = _sha256(line)
        return faults

    def withdrawn(self) -> frozenset[str]:
        """Checksums of the models that no run may push again."""
        models: set[str] = set()
        for entry in self.entries:
            if entry is None:
                continue
            if entry.action == WITHDRAW:
                models.add(entry.checksum)
            elif entry.action in (PROMOTE, ROLLBACK):
                models.discard(entry.checksum)
        return frozenset(models)

    def published(self, version: int) -> Entry | None:
        """The line that published a version; None if there is none."""
        for entry in self.entries:
            if entry is not None and entry.action in PUBLISHING and entry.version == version:
                return entry
        return None

    def extended(self, entries: Sequence[Entry]) -> "Log":
        """The log with more lines at its end."""
        return Log((*self.lines, *(entry.line() for entry in entries)))

    def next(self, entry: Entry) -> Entry:
        """The entry as the log's next line: with its number and the hash of the line before."""
        return dataclasses.replace(entry, sequence=len(self.lines) + 1, previous=self.head)


def model_checksum(checksums: Mapping[str, str]) -> str:
    """One SHA-256 for many files: over lines "SHA-256, two spaces, relative path", sorted by path.

    Args:
      checksums: SHA-256 of each file, in hexadecimal, by relative path.

    Returns:
      64 hexadecimal digits; "" without files.
    """
    lines = "".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums))
    return _sha256(lines.encode()) if lines else ""


def read(base: str) -> Log:
    """Reads the log of a serving folder; an empty one if it has none."""
    path = f"{base.rstrip('/')}/{LOG_FILE}"
    if not files.exists(path):
        return Log()
    with files.open_file(path) as file:
        content = file.read()
    return Log(tuple(content.removesuffix(b"\n").split(b"\n")) if content else ())


class Staged:
    """A log that was written whole beside the log, so that only a rename is left to do.

    What remains to be done after a version was published then needs no room on the disk, and no
    reader ever sees half a line. An object store has no rename: there `commit` writes the log.
    """

    def __init__(self, base: str, log: Log) -> None:
        """Writes the log's content to a hidden file.

        Raises:
          OSError: The disk is full, or the folder cannot be written to.
        """
        self._target = f"{base.rstrip('/')}/{LOG_FILE}"
        self._content = b"".join(line + b"\n" for line in log.lines)
        self._file: Path | None = None
        if not is_remote(base):
            self._file = Path(base) / f"{_STAGED_LOG}{uuid.uuid4().hex[:8]}"
            try:
                files.write_synced(self._file, self._content)
            except BaseException:
                self.discard()
                raise

    def commit(self) -> None:
        """Makes it the log."""
        if self._file is None:
            with files.open_file(self._target, "wb") as file:
                file.write(self._content)
            return
        self._file.rename(self._target)
        files.sync_folder(self._file.parent)

    def discard(self) -> None:
        """Removes the hidden file, if it is there still."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def remove_stale(base: str) -> None:
    """Removes hidden files of processes that were killed; the caller holds the lock."""
    for stale in Path(base).glob(f"{_STAGED_LOG}*"):
        stale.unlink()


def _parse(line: bytes) -> Entry | None:
    try:
        return Entry.of(json.loads(line))
    except ValueError:
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
