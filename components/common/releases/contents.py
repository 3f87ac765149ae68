"""What a serving folder holds: its versions, its log, and what follows from both.

The versions are the truth. The log repeats what they say in one file, and remembers those whose
folders are gone.
"""

import dataclasses
import functools
import re

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.releases.records import (
    LARGEST_VERSION,
    LATEST_PUSH,
    LOG_FILE,
    MODEL_FILE,
    PROMOTE,
    ROLLBACK,
    Change,
    Release,
    checksums,
    model_checksum,
    parse_line,
    read_release,
)

_VERSION = re.compile(r"0|[1-9][0-9]{0,18}")
# What TensorFlow's loaders look for; a folder with neither is no SavedModel to any server.
_LOADABLE = (MODEL_FILE, "saved_model.pbtxt")


@dataclasses.dataclass(frozen=True)
class Row:
    """One version in the history of a serving folder.

    Attributes:
      change: How it came into production; "" as the action where nothing says it.
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
      lines: The log's lines; None for each that cannot be read.
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
        self.lines = [parse_line(line) for line in (self.log or b"").splitlines()]
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

    @property
    def highest(self) -> int:
        """The highest number that was given to a version, though its folder may be gone; 0 if none.

        A number in the log that no clock has reached is a forged one.
        """
        logged = [number for number in self.changes if number < LATEST_PUSH]
        return max([*self.folders, *logged], default=0)

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

    @functools.cached_property
    def changes(self) -> dict[int, Change]:
        """The change that published each version, by its number, in order.

        A version's own line counts, and the log's where the version is gone or unreadable.
        """
        changes: dict[int, Change] = {}
        for change in filter(None, self.lines):
            changes.setdefault(change.version, change)
        for version in self.versions:
            if (own := self.release(version).change) is not None:
                changes[version] = own
        return dict(sorted(changes.items()))

    @property
    def unlogged(self) -> list[Change]:
        """Changes that the log lacks; one if a push was killed before it was logged."""
        return [change for change in self.changes.values() if change not in self.lines]

    @functools.cached_property
    def withdrawn(self) -> dict[str, int]:
        """Models that no run may push: the versions that held them, by checksum."""
        models: dict[str, int] = {}
        for change in self.changes.values():
            if change.action in (ROLLBACK, PROMOTE):
                models.pop(change.checksum, None)
            if change.withdraws:
                models[change.withdraws] = change.replaces or 0
        return models

    def folder(self, version: int) -> str:
        """The folder of a version."""
        return f"{self.base}/{version}"

    def release(self, version: int) -> Release:
        """What a version says of itself."""
        return self._read(version)

    def identity(self, version: int) -> Change:
        """The change that published a version, or what its files say where none is known."""
        if version in self.changes:
            return self.changes[version]
        release = self.release(version)
        return Change(
            time=release.pushed_at,
            action="",
            version=version,
            replaces=None,
            source=None,
            run_id=release.run_id,
            model=release.network,
            checksum=model_checksum(release.files or checksums(self.folder(version))),
            evidence="",
        )

    def history(self) -> list[Row]:
        """Every version that is there or that the log names, the oldest first."""
        gone = self.changes.keys() - {*self.folders}
        known = [self.identity(number) for number in sorted({*self.versions, *gone})]
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
        return change is not None and change in self.lines
