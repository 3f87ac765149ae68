"""Where a shadow's answers differ: found, and written as JSON lines of bounded size."""

import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from serving.server.calls import Outputs
from serving.server.line_writer import LineWriter

_MOST_BYTES = 10 << 20


class ShadowLog:
    """Writes JSON lines to standard error, to a file, or nowhere; fails at nothing.

    A file that has grown to 10 MiB becomes FILE.1, in place of the one before.
    """

    def __init__(
        self, target: str, standard_error: LineWriter, *, most_bytes: int = _MOST_BYTES
    ) -> None:
        """Opens nothing yet.

        Args:
          target: "-" for standard error, a path to append to, or "" for none.
          standard_error: Writes to it.
          most_bytes: Size at which a file is put aside.
        """
        self._file = Path(target) if target not in ("", "-") else None
        self._writer = standard_error if target == "-" else None
        self._most_bytes = most_bytes

    def write(self, **fields: Any) -> None:
        """Writes one line with the time and these fields. Called by one thread a model."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **fields}, ensure_ascii=False)
        if self._writer is not None:
            self._writer.write(line)
        elif self._file is not None:
            with contextlib.suppress(OSError):
                self._append(self._file, f"{line}\n".encode(errors="backslashreplace"))

    def _append(self, path: Path, line: bytes) -> None:
        if path.exists() and path.stat().st_size + len(line) > self._most_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
        with path.open("ab") as file:
            file.write(line)


def disagreements(served: Outputs, shadow: Outputs) -> list[dict[str, Any]]:
    """Rows whose most probable genre differs.

    Args:
      served: Outputs by name: `probabilities` [rows, genres], and `genres` if it was asked for.
      shadow: The shadow's, of the same names.

    Returns:
      One dictionary a row: `row`, `genre` and `probability` as served, the shadow's, and
      `largest_difference` of a probability (None where the two know different numbers of genres).
      A genre is its place in the row where `genres` was not asked for.
    """
    ours, theirs = served["probabilities"], shadow["probabilities"]
    lines = []
    for row in range(len(ours)):
        genre, shadow_genre = _genre(served, row), _genre(shadow, row)
        if genre != shadow_genre:
            comparable = ours[row].shape == theirs[row].shape
            difference = float(np.abs(ours[row] - theirs[row]).max()) if comparable else None
            lines.append(
                {
                    "row": row,
                    "genre": genre,
                    "probability": round(float(ours[row].max()), 4),
                    "shadow_genre": shadow_genre,
                    "shadow_probability": round(float(theirs[row].max()), 4),
                    "largest_difference": None if difference is None else round(difference, 4),
                }
            )
    return lines


def _genre(outputs: Outputs, row: int) -> str | int:
    place = int(outputs["probabilities"][row].argmax())
    if "genres" not in outputs:
        return place
    name = outputs["genres"][row][place]
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
