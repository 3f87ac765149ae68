"""What a serving folder holds: its versions, its log, and what follows from both.

The versions are the truth. The log repeats what they say in one file; a line that no version bears
out changes nothing, and `faults.log_faults` names it.
"""

import dataclasses
import functools
import re

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.releases.records import (
    LARGEST_VERSION,
    LOG_FILE,
    MODEL_FILE,
    PROMOTE,
    ROLLBACK,
    Change,
    Release,
    checksums,
    model_checksum,
    parse_changes,
    read_release,
)

_VERSION = re.compile(r"0|[1-9][0-9]{0,18}")
# What TensorFlow's loaders look for; a folder with neither is no SavedModel to any server.
_LOADABLE = (MODEL_FILE, "saved_model.pbtxt")


@dataclasses.dataclass(frozen=True)
class Row:
    """One version in the history of a serving folder.

    Attributes:
      change: How it came into production; "" as the action for versions older than the log.
      release: What it says of itself.
      until: When the next one replaced it, in UTC; "" while it is in production.
      in_production: Whether servers answer with it: it is the newest that is there.
      there: Whether its folder is there.
      withdrawn: Whether a rollback withdrew its model.
    """

    change: Change
    release: Release
    until: str
    in_production: bool
    there: bool
    withdrawn: bool


class Contents:
    """A serving folder as it is now; what has been read once is kept.

    Attributes:
      base: The folder.
      log: The bytes of its log; None without one.
      changes: The log's lines; None for each that cannot be read.
    """

    def __init__(self, base: str) -> None:
        """Reads the log.

        Raises:
          OSError: The folder or its log cannot be read.
          UserError: The log is too large to be one.
        """
        self.base = base.rstrip("/")
        path = f"{self.base}/{LOG_FILE}"
        self.log = None
        if files.exists(path):
            self.log = files.read_bytes(path, foreign_json.MAX_BYTES + 1)
            if len(self.log) > foreign_json.MAX_BYTES:
                raise UserError(f"{path} is larger than {foreign_json.MAX_BYTES >> 20} MiB")
        lines = (self.log or b"").splitlines()
        self.changes = list(parse_changes(_parsed(line) for line in lines))
        self._read = functools.cache(lambda version: read_release(self.folder(version), version))

    @functools.cached_property
    def folders(self) -> list[int]:
        """Numbers of all version folders, in order; none without the serving folder.

        A number that servers do not load is passed over: one over 2^63 - 1, or "007". One of the
        numbers may be what a push to an object store left that broke off: see `versions`.
        """
        names = files.names(self.base) if files.exists(self.base) else []
        numbers = sorted(int(name) for name in names if _VERSION.fullmatch(name))
        return [number for number in numbers if number <= LARGEST_VERSION]

    @functools.cached_property
    def versions(self) -> list[int]:
        """Numbers of the versions, in order.

        A version is a folder that a server can load, or one whose line in the log equals its own:
        it was complete once, and was altered since. Another numbered folder was never in
        production.
        """
        return [number for number in self.folders if self._is_version(number)]

    @functools.cached_property
    def newest(self) -> int | None:
        """The highest of `versions`; None if there is none."""
        return next(filter(self._is_version, reversed(self.folders)), None)

    def folder(self, version: int) -> str:
        """The folder of a version."""
        return f"{self.base}/{version}"

    def release(self, version: int) -> Release:
        """What a version says of itself."""
        return self._read(version)

    def change(self, version: int) -> Change | None:
        """The change that published a version; the log is asked only if its release is unreadable
        or gone.
        """
        if version in self.folders and not self.release(version).problem:
            return self.release(version).change
        logged = [change for change in self.changes if change and change.version == version]
        return logged[0] if logged else None

    @property
    def unlogged(self) -> list[Change]:
        """Changes at the end of the history that the log lacks, the oldest first.

        All of them if the log is missing; the last one if a push was killed before it was logged.
        """
        missing: list[Change] = []
        for version in reversed(self.versions):
            change = self.release(version).change
            if change is not None and change in self.changes:
                break
            missing = [change, *missing] if change is not None else missing
        return missing

    def identity(self, version: int) -> Change:
        """What is known of a version, even of one that was altered since or is older than the log.

        Its checksum is that of the files that were released, if anything says it.
        """
        change = self.change(version)
        if change is not None:
            return change
        release = self.release(version)
        digests = release.files or checksums(self.folder(version))
        return Change(
            time=release.pushed_at,
            action="",
            version=version,
            replaces=None,
            source=None,
            run_id=release.run_id,
            model=release.network,
            checksum=model_checksum(digests),
            evidence="",
        )

    @functools.cached_property
    def withdrawn(self) -> dict[str, int]:
        """Models that no run may push: the versions that held them, by checksum.

        The newest version that lists them counts, and the changes since.
        """
        since: list[Change] = []
        models: dict[str, int] = {}
        for version in reversed(self.versions):
            listed = self.release(version).withdrawn
            if listed is not None:
                models = dict(listed)
                break
            if (change := self.change(version)) is not None:
                since.append(change)
        for change in reversed(since):
            models = withdrawn_after(change, models)
        return models

    def history(self) -> list[Row]:
        """Every version that is there or that the log names, the oldest first."""
        logged = {change.version for change in self.changes if change}
        numbers = sorted({*self.versions, *(logged - {*self.folders})})
        known = [self.identity(number) for number in numbers]
        ends = [*(change.time for change in known[1:]), ""]
        return [
            Row(
                change=change,
                release=self.release(change.version),
                until=end,
                in_production=change.version == self.newest,
                there=change.version in self.folders,
                withdrawn=change.checksum in self.withdrawn,
            )
            for change, end in zip(known, ends, strict=False)
        ]

    def required(self, version: int | None = None) -> int:
        """The number of a version that is there, by default the newest.

        Raises:
          UserError: There is no such version.
        """
        if self.newest is None:
            raise UserError(f"{self.base} holds no versions: `make run` trains and pushes one")
        if version is None:
            return self.newest
        if version not in self.versions:
            there = ", ".join(map(str, self.versions))
            raise UserError(f"{self.base} has no version {version}. It has: {there}")
        return version

    def _is_version(self, number: int) -> bool:
        if any(files.exists(f"{self.folder(number)}/{name}") for name in _LOADABLE):
            return True
        change = self.release(number).change
        return change is not None and change in self.changes


def withdrawn_after(change: Change, models: dict[str, int]) -> dict[str, int]:
    """The models that are withdrawn once a change has happened (see `Contents.withdrawn`)."""
    after = dict(models)
    if change.action in (ROLLBACK, PROMOTE):
        after.pop(change.checksum, None)
    if change.withdraws:
        after[change.withdraws] = change.replaces or 0
    return after


def _parsed(line: bytes) -> object:
    try:
        return foreign_json.parse(line)
    except foreign_json.ForeignJsonError:
        return None
