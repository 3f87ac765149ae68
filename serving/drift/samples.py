"""Reads what the embedded server sampled."""

import collections
import dataclasses
import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    TypeAdapter,
)

from components.common.opening import open_regular


class _Strict(BaseModel):
    """A text is no number here, and neither are NaN and infinity; unknown keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class Answer(_Strict):
    """A sampled row; docs/explanation/serving.md explains the fields."""

    kind: Literal["answer"]
    time: AwareDatetime
    model: str
    version: int
    genre: str | None = None
    confidence: FiniteFloat
    runner_up: FiniteFloat
    rms_db: FiniteFloat | None = None
    peak: FiniteFloat | None = None
    silent_fraction: FiniteFloat | None = None
    clipped_fraction: FiniteFloat | None = None
    bandwidth_hz: FiniteFloat | None = None


class _Refused(_Strict):
    status: str
    reason: str
    calls: NonNegativeInt


class _Counts(_Strict):
    """How many calls there were since the line of counts before."""

    kind: Literal["counts"]
    time: AwareDatetime
    model: str
    calls: NonNegativeInt
    refused: list[_Refused]


_LINE: TypeAdapter[Answer | _Counts] = TypeAdapter(
    Annotated[Answer | _Counts, Field(discriminator="kind")]
)


@dataclasses.dataclass
class Samples:
    """What a folder of samples says of one version of a model.

    Attributes:
      answers: The sampled rows of the version.
      calls: Calls of the model, sampled or not, by all versions.
      refused: Of these, how many were refused, by status and reason.
      other_versions: Sampled rows that other versions answered.
      broken: Lines that cannot be read.
      first_broken: The file and line number of the first, "" if there is none.
    """

    answers: list[Answer] = dataclasses.field(default_factory=list)
    calls: int = 0
    refused: "collections.Counter[tuple[str, str]]" = dataclasses.field(
        default_factory=collections.Counter
    )
    other_versions: int = 0
    broken: int = 0
    first_broken: str = ""

    def values(self, name: str) -> list[float]:
        """The values of a descriptor, of the rows that have it."""
        values = (getattr(answer, name) for answer in self.answers)
        return [value for value in values if value is not None]

    @property
    def genres(self) -> list[str]:
        """The predicted genres, of the rows that name one."""
        return [answer.genre for answer in self.answers if answer.genre is not None]


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
            with open_regular(path) as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue  # the server removed it meanwhile: its folder is bounded
        for number, content in enumerate(lines, start=1):
            try:
                line = _LINE.validate_json(content)
            except ValueError:
                samples.broken += 1
                samples.first_broken = samples.first_broken or f"{path}, line {number}"
                continue
            if line.model != model or (since is not None and line.time < since):
                continue
            if isinstance(line, _Counts):
                samples.calls += line.calls
                for refused in line.refused:
                    samples.refused[refused.status, refused.reason] += refused.calls
            elif line.version == version:
                samples.answers.append(line)
            else:
                samples.other_versions += 1
    return samples
