"""Reads what the embedded server sampled, and its shadow log."""

import collections
import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Samples:
    """What a folder of samples says of one version of a model.

    Attributes:
      answers: One dictionary a sampled row; see docs/serving.md, "Monitoring".
      calls: Calls of the model, sampled or not, by all versions.
      refused: Of these, how many were refused, by status and reason.
      other_versions: Sampled rows that other versions answered.
      broken: Lines that cannot be read.
      first_broken: The file and line number of the first, "" if there is none.
    """

    answers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    calls: int = 0
    refused: "collections.Counter[tuple[str, str]]" = dataclasses.field(
        default_factory=collections.Counter
    )
    other_versions: int = 0
    broken: int = 0
    first_broken: str = ""

    def values(self, name: str) -> list[float]:
        """The values of a descriptor, of the rows that have it."""
        found = (answer.get(name) for answer in self.answers)
        return [float(value) for value in found if isinstance(value, int | float)]

    @property
    def genres(self) -> list[str]:
        """The predicted genres, of the rows that name one."""
        found = (answer.get("genre") for answer in self.answers)
        return [genre for genre in found if isinstance(genre, str)]


def read_samples(
    folder: Path, *, model: str, version: int, since: datetime.datetime | None = None
) -> Samples:
    """Reads all sample files of a folder. Passes over lines that are broken, and counts them.

    Args:
      folder: The server's --sample-folder.
      model: The model, as the server names it.
      version: The version.
      since: Leaves out what is older.

    Raises:
      OSError: The folder or a file cannot be read.
    """
    samples = Samples()
    for path in sorted(folder.glob("samples-*.jsonl")):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue  # the server removed it meanwhile: its folder is bounded
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                if since is not None and datetime.datetime.fromisoformat(fields["time"]) < since:
                    continue
                _add(samples, fields, model, version)
            except (ValueError, KeyError, TypeError, AttributeError):
                samples.broken += 1
                samples.first_broken = samples.first_broken or f"{path}, line {number}"
    return samples


def _add(samples: Samples, fields: dict[str, Any], model: str, version: int) -> None:
    kind = fields["kind"]
    if fields["model"] != model:
        return
    if kind == "answer":
        if fields["version"] != version:
            samples.other_versions += 1
            return
        float(fields["confidence"]), float(fields["runner_up"])
        samples.answers.append(fields)
    elif kind == "counts":
        calls = int(fields["calls"])
        refused = {(one["status"], one["reason"]): int(one["calls"]) for one in fields["refused"]}
        samples.calls += calls
        samples.refused.update(refused)


def read_disagreements(
    path: Path, *, model: str, since: datetime.datetime | None = None
) -> dict[str, Any]:
    """Counts the lines of a shadow log, and of the one that was put aside before it.

    Args:
      path: The server's --shadow-log.
      model: The model.
      since: Leaves out what is older.

    Returns:
      `rows` that disagree, `errors` of the shadow, `shadow_versions`, and `pairs` of served and
      shadow's genre with their number, the most frequent first.

    Raises:
      OSError: The file cannot be read.
    """
    pairs: collections.Counter[tuple[str, str]] = collections.Counter()
    errors = 0
    versions = set()
    before = path.with_name(f"{path.name}.1")
    for file in [before, path] if before.exists() else [path]:
        for line in file.read_bytes().splitlines():
            try:
                fields = json.loads(line)
                if fields["model"] != model or (
                    since is not None and datetime.datetime.fromisoformat(fields["time"]) < since
                ):
                    continue
                versions.add(int(fields["shadow_version"]))
                if "error" in fields:
                    errors += 1
                else:
                    pairs[str(fields["genre"]), str(fields["shadow_genre"])] += 1
            except (ValueError, KeyError, TypeError):
                continue  # standard error may hold other lines, too
    return {
        "rows": sum(pairs.values()),
        "errors": errors,
        "shadow_versions": sorted(versions),
        "pairs": [
            {"genre": ours, "shadow_genre": theirs, "rows": count}
            for (ours, theirs), count in pairs.most_common(10)
        ],
    }
