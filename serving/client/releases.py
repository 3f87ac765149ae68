"""What a pushed version says of itself: which network it is, and what it was trained on.

The pipeline writes `assets.extra/release.json` into every version that it pushes. Older versions
lack the file, and any of its fields may be missing.
"""

import dataclasses
import datetime
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from components.common.errors import UserError

RELEASE_FILE = pathlib.Path("assets.extra", "release.json")
SYNTHETIC_NOTE = "trained on synthetic music: it knows no real song"
# Version numbers of a pipeline are the Unix times of their pushes; others just count.
_NUMBER = re.compile(r"[0-9]+")
_FIRST_PUSH, _LAST_PUSH = 1_500_000_000, 4_100_000_000


@dataclasses.dataclass(frozen=True)
class Release:
    """One pushed version.

    Attributes:
      version: Its number.
      fields: What its release file holds; empty where there is none.
    """

    version: int
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def network(self) -> str:
        """The network's name ("musicnn"); empty where it is not known."""
        return _text(self.fields.get("model"))

    @property
    def data(self) -> str:
        """What it was trained on, as a short name; empty where it is not known."""
        return pathlib.PurePath(_text(self.fields.get("data"))).name

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on composed music."""
        return self.fields.get("synthetic") is True

    @property
    def tracks(self) -> dict[str, int]:
        """Tracks of each split ("train", "validation", "test")."""
        tracks = self.fields.get("tracks")
        if not isinstance(tracks, dict):
            return {}
        return {str(name): count for name, count in tracks.items() if isinstance(count, int)}

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the tracks of the test split, 0 to 1."""
        value = self.fields.get("test_accuracy")
        return float(value) if isinstance(value, int | float) else None

    @property
    def pushed(self) -> datetime.date | None:
        """The day of its push, in UTC."""
        try:
            moment = datetime.datetime.fromisoformat(
                _text(self.fields.get("pushed_at")).replace("Z", "+00:00")
            )
        except ValueError:
            if not _FIRST_PUSH < self.version < _LAST_PUSH:
                return None
            return datetime.datetime.fromtimestamp(self.version, datetime.timezone.utc).date()
        return (moment.astimezone(datetime.timezone.utc) if moment.tzinfo else moment).date()

    @property
    def note(self) -> str:
        """The warning that must stand beside its answers; empty where there is none."""
        return SYNTHETIC_NOTE if self.synthetic else ""

    def title(self, model: str) -> str:
        """Network, data and date: "musicnn, trained on GTZAN, 2026-11-22".

        Args:
          model: Name under which it is served, for where the network is not known.
        """
        words = [self.network or f"{model} version {self.version}"]
        if self.data:
            words.append(f"trained on {self.data}")
        if self.pushed:
            words.append(self.pushed.isoformat())
        return ", ".join(words)


def read_release(folder: pathlib.Path) -> Release:
    """Reads what the version in `folder`, `…/<model>/<version>`, says of itself."""
    version = int(folder.name) if _NUMBER.fullmatch(folder.name) else 0
    try:
        fields = json.loads((folder / RELEASE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        fields = {}
    return Release(version, fields if isinstance(fields, dict) else {})


def find_release(base: pathlib.Path | None, version: int) -> Release:
    """The release of `version` among those pushed to `base`; one without fields where it is not."""
    return Release(version) if base is None else read_release(base / str(version))


def newest_version(base: pathlib.Path) -> pathlib.Path:
    """The folder of the newest version that was pushed to `base`.

    Raises:
      UserError: There is none.
    """
    try:
        versions = [
            entry
            for entry in base.iterdir()
            if _NUMBER.fullmatch(entry.name) and (entry / "saved_model.pb").is_file()
        ]
    except OSError as error:
        raise UserError(
            f"{base} holds no models ({error.strerror}): `make run` trains and pushes one"
        ) from error
    if not versions:
        raise UserError(f"{base} holds no pushed version: `make run` trains and pushes one")
    return max(versions, key=lambda entry: int(entry.name))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
