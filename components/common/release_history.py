"""The history of a serving folder: each version, and from when to when it was in production."""

import dataclasses
from typing import Any

from components.common.release_log import PUBLISHING, Entry, Log, model_checksum
from components.common.release_reading import read_release, versions
from components.common.release_shadow import read_shadow


@dataclasses.dataclass(frozen=True)
class Released:
    """One version, as its own release file and the log tell of it.

    Attributes:
      version: Its number.
      model: The model's name in the catalog; "" where it is not known.
      run_id: The run that made it; "" where it is not known.
      test_accuracy: Accuracy on the test tracks, 0 to 1; None where it is not known.
      action: "push", "rollback" or "promote"; "" for versions older than the log.
      source: Whose files it holds again, after a rollback or promotion.
      production_from: When it came into production, in UTC; "" where it is not known.
      production_to: When the next one replaced it; "" while it is in production.
      checksum: One SHA-256 for the model's own files.
      in_production: Whether servers answer with it: it is the newest that is there.
      there: Whether its folder is there.
      withdrawn: Whether a rollback withdrew its model.
      shadow: Whether servers ask it beside the one in production.
    """

    version: int
    model: str
    run_id: str
    test_accuracy: float | None
    action: str
    source: int | None
    production_from: str
    production_to: str
    checksum: str
    in_production: bool
    there: bool
    withdrawn: bool
    shadow: bool


def history(base: str, log: Log) -> list[Released]:
    """Every version that is there or that the log names, the oldest first.

    Args:
      base: The serving folder.
      log: Its log.
    """
    base = base.rstrip("/")
    there = versions(base)
    lines: dict[int, Entry] = {
        entry.version: entry for entry in log.entries if entry and entry.action in PUBLISHING
    }
    releases = {version: read_release(f"{base}/{version}") for version in there}
    numbers = sorted({*there, *lines})
    starts = {
        version: lines[version].time if version in lines else _pushed_at(releases[version])
        for version in numbers
    }
    ends = dict(zip(numbers, [*(starts[number] for number in numbers[1:]), ""], strict=False))
    withdrawn, shadow = log.withdrawn(), read_shadow(base)
    return [
        _released(
            version,
            releases.get(version, {}),
            lines.get(version),
            production=(starts[version], ends[version]),
            newest=bool(there) and version == there[-1],
            there=version in releases,
            withdrawn=withdrawn,
            shadow=version == shadow,
        )
        for version in numbers
    ]


def lines_about(version: int, log: Log) -> list[Entry]:
    """The log's lines about a version: when it was published, replaced, published again."""
    return [
        entry
        for entry in log.entries
        if entry is not None and version in (entry.version, entry.replaces, entry.source)
    ]


def _released(
    version: int,
    release: dict[str, Any],
    line: Entry | None,
    *,
    production: tuple[str, str],
    newest: bool,
    there: bool,
    withdrawn: frozenset[str],
    shadow: bool,
) -> Released:
    accuracy = release.get("test_accuracy")
    own = release.get("files")
    checksum = line.checksum if line else model_checksum(own) if isinstance(own, dict) else ""
    return Released(
        version=version,
        model=line.model if line else str(release.get("model", "")),
        run_id=line.run_id if line else str(release.get("run_id", "")),
        test_accuracy=float(accuracy) if isinstance(accuracy, int | float) else None,
        action=line.action if line else "",
        source=line.source if line else None,
        production_from=production[0],
        production_to=production[1],
        checksum=checksum,
        in_production=newest,
        there=there,
        withdrawn=checksum in withdrawn,
        shadow=shadow,
    )


def _pushed_at(release: dict[str, Any]) -> str:
    pushed_at = release.get("pushed_at")
    return pushed_at if isinstance(pushed_at, str) else ""
