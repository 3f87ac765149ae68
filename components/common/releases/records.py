"""What a version says of itself (`release.json`), and the lines of the release log.

genre/1795333142/saved_model.pb, variables/, assets/, assets.extra/
genre/1795333142/assets.extra/release.json    origin, figures, SHA-256 of every other file
genre/releases.jsonl                          one JSON line for every change of production
"""

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from components.common import files, foreign_json

RELEASE_FILE = "assets.extra/release.json"
MODEL_FILE = "saved_model.pb"
LOG_FILE = "releases.jsonl"
PUSH, ROLLBACK, PROMOTE = "push", "rollback", "promote"
LARGEST_VERSION = 2**63 - 1
SYNTHETIC_NOTE = "trained on synthetic music: it knows no real song"

# Version numbers of a pipeline are the Unix times of their pushes; others just count.
_EARLIEST_PUSH, LATEST_PUSH = 1_500_000_000, 4_100_000_000


def pretraining_note(rows: Any) -> str:
    """What weights a model started from, and what they may have seen; "" if from none.

    Args:
      rows: The field `pretraining` of `release.json`.

    Example:
      >>> pretraining_note([{"data": "ImageNet", "weights": "keras.applications",
      ...     "licence": "MIT", "may_hold_test_tracks": False}])
      'pretrained on ImageNet (weights: keras.applications, licence: MIT)'
    """
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not rows:
        return ""
    sources = [
        f"on {row.get('data')} (weights: {row.get('weights')}, licence: {row.get('licence')})"
        for row in rows
    ]
    note = f"pretrained {' and '.join(sources)}"
    if any(row.get("may_hold_test_tracks") for row in rows):
        note += ", which may hold test tracks: its figures may be too good"
    return note


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of what is in production: a line of the log, and a part of its version.

    Attributes:
      time: When, in UTC: "2026-11-22T13:50:44Z".
      action: "push" (a run published its model), "rollback" or "promote" (a person published an
        earlier version's model again).
      version: The version that was published.
      replaces: The version that was in production before; None if there was none.
      source: Whose files a rollback or promotion published; None for a push.
      run_id: The run that trained or chose the model.
      model: The model's name in the catalog.
      checksum: `model_checksum` of the model's own files.
      evidence: `Release.evidence_checksum` of the version.
      withdraws: Checksum of the model that a rollback withdrew; "" for others.
    """

    time: str
    action: str
    version: int
    replaces: int | None
    source: int | None
    run_id: str
    model: str
    checksum: str
    evidence: str
    withdraws: str = ""

    def line(self) -> bytes:
        """The change as a line of the log."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode() + b"\n"


_CHANGE = TypeAdapter(Change)


def parse_line(line: bytes) -> Change | None:
    """The change that a line of the log states; None if it cannot be read."""
    try:
        return _CHANGE.validate_json(line, strict=True)
    except ValidationError:
        return None


@dataclasses.dataclass(frozen=True)
class Release:
    """What a version says of itself. Any part may be missing.

    Attributes:
      version: Its number.
      fields: What its `release.json` holds; empty if that is missing or unreadable.
      problem: Why `release.json` cannot be read; "" if it can.
    """

    version: int
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    problem: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What it states for people: its fields without checksums and log."""
        hidden = ("files", "evidence", "log")
        return {name: value for name, value in self.fields.items() if name not in hidden}

    @property
    def network(self) -> str:
        """The model's name in the catalog ("musicnn"); "" if it is unknown."""
        return self._text("model")

    @property
    def run_id(self) -> str:
        """The run that pushed it; "" if it is unknown."""
        return self._text("run_id")

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each of the model's own files by path; empty if it does not say."""
        return _digests(self.fields.get("files"))

    @property
    def evidence(self) -> dict[str, str]:
        """SHA-256 of each file that came with the push by path; empty for older versions."""
        listed = _digests(self.fields.get("evidence"))
        return {name: digest for name, digest in listed.items() if name.startswith("assets.")}

    @property
    def evidence_checksum(self) -> str:
        """One SHA-256 for the evidence and for what `release.json` states."""
        facts = {name: value for name, value in self.fields.items() if name != "log"}
        text = json.dumps(facts, sort_keys=True).encode()
        return model_checksum({**self.evidence, RELEASE_FILE: hashlib.sha256(text).hexdigest()})

    @property
    def change(self) -> Change | None:
        """The change that published it; None if it does not say."""
        rows = self.fields.get("log")
        change = (
            parse_line(json.dumps(rows[-1]).encode()) if isinstance(rows, list) and rows else None
        )
        return change if change is not None and change.version == self.version else None

    @property
    def data(self) -> str:
        """What it was trained on, as a short name; "" if it is unknown."""
        return pathlib.PurePath(self._text("data")).name

    @property
    def tracks(self) -> dict[str, int]:
        """Tracks of each split ("train", "validation", "test")."""
        tracks = self.fields.get("tracks")
        counts = tracks.items() if isinstance(tracks, dict) else ()
        return {str(name): count for name, count in counts if isinstance(count, int)}

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the tracks of the test split, 0 to 1."""
        value = self.fields.get("test_accuracy")
        return float(value) if isinstance(value, int | float) else None

    @property
    def pushed_at(self) -> str:
        """When it was pushed, in UTC: "2026-11-22T13:50:44Z"; "" if it does not say."""
        return self._text("pushed_at")

    @property
    def day(self) -> datetime.date | None:
        """The day of its push, in UTC; taken from its number if it does not say."""
        utc = datetime.timezone.utc
        try:
            moment = datetime.datetime.fromisoformat(self.pushed_at.replace("Z", "+00:00"))
            return (moment.astimezone(utc) if moment.tzinfo else moment).date()
        except (ValueError, OverflowError):
            if not _EARLIEST_PUSH < self.version < LATEST_PUSH:
                return None
            return datetime.datetime.fromtimestamp(self.version, utc).date()

    @property
    def note(self) -> str:
        """The warning that must stand beside its answers; "" if there is none."""
        return SYNTHETIC_NOTE if self.fields.get("synthetic") is True else ""

    @property
    def pretraining(self) -> str:
        """`pretraining_note` of its model."""
        return pretraining_note(self.fields.get("pretraining"))

    def model(self, served_as: str) -> str:
        """Network and data: "musicnn, trained on GTZAN".

        Args:
          served_as: Name under which it is served, used if the model's own name is unknown.
        """
        network = self.network or served_as
        return f"{network}, trained on {self.data}" if self.data else network

    def title(self, served_as: str) -> str:
        """Network, data, version and its day: "musicnn, trained on GTZAN (version 3, 2026-11-22)".

        Args:
          served_as: See `model`.
        """
        day = f", {self.day.isoformat()}" if self.day else ""
        return f"{self.model(served_as)} (version {self.version}{day})"

    def _text(self, name: str) -> str:
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


def read_release(folder: str, version: int) -> Release:
    """Reads the `release.json` of a version's folder."""
    path = f"{folder}/{RELEASE_FILE}"
    if not files.exists(path):
        return Release(version, problem=f"{RELEASE_FILE} is missing")
    try:
        fields = foreign_json.parse(files.read_bytes(path, foreign_json.MAX_BYTES + 1))
    except (OSError, foreign_json.ForeignJsonError) as error:
        return Release(version, problem=f"{RELEASE_FILE} cannot be read: {error}")
    if not isinstance(fields, dict):
        return Release(version, problem=f"{RELEASE_FILE} cannot be read: it is no JSON object")
    return Release(version, fields)


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


def model_checksum(digests: Mapping[str, str]) -> str:
    """One SHA-256 for many files: over lines "SHA-256, two spaces, relative path", sorted by path.

    Args:
      digests: SHA-256 of each file, in hexadecimal, by relative path.

    Returns:
      64 hexadecimal digits; "" without files.
    """
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest() if lines else ""


def _digests(listed: Any) -> dict[str, str]:
    names = listed.items() if isinstance(listed, dict) else ()
    return {name: digest for name, digest in names if isinstance(digest, str)}
