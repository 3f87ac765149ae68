"""What the report needs of the decided files, in Beam: numbers, samples and tops, and full lists.

The summary is one element of bounded size. What grows with the music is written to files of a
bounded number of lines each.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton

from components.example_gen import files, tracks
from components.example_gen.assign import Placed
from components.example_gen.decide import Parts
from components.example_gen.lists import LINES_PER_FILE, Lines, Row, WriteLines
from components.example_gen.plan import Counts, Decision
from components.example_gen.tracks import Examined
from components.gtzan import splits

TRACKS, TRAINING_TRACKS = "tracks", "training_tracks"
LEFT_OUT, NEAR_DUPLICATES = "left_out", "near_duplicates"
# How much the summary names: files left out for each reason, pairs, ids.
MOST_NAMED = 500
_COLUMNS = tuple(
    field.name
    for field in dataclasses.fields(Examined)
    if field.name not in ("fault", "detail", "fingerprint")
)


@beam.ptransform_fn
def Summarise(  # noqa: N802
    parts: Parts, counts: beam.PCollection[Counts], decision: beam.PCollection[Decision]
) -> beam.PCollection[dict[str, Any]]:
    """Makes one element of plain values, whose size does not grow with the music.

    Args:
      parts: Result of `Decide`.
      counts: Result of `Count` for it.
      decision: Result of `Judge` for that.

    Returns:
      `counts` (see `Counts.to_values`) and `failure`; `left_out`, the first `MOST_NAMED` files by
      path of each reason; `near_duplicates`, as many pairs, those across splits first; `unmatched`,
      as many ids; `shortest_seconds` and `longest_seconds`, of one track; `drawn`, a track of each
      genre.
    """
    return (
        (
            parts["placed"] | "NamePlaced" >> beam.FlatMap(_name_placed),
            parts["left_out"] | "NameLeftOut" >> beam.Map(_name_left_out),
            parts["near_duplicates"] | "NamePairs" >> beam.Map(_name_pair),
            parts["unmatched"] | "NameUnmatched" >> beam.Map(_name_unmatched),
        )
        | "All" >> beam.Flatten()
        | "First" >> beam.CombinePerKey(_First())
        | "FirstOfAll" >> beam.combiners.ToList()
        | "Summary" >> beam.Map(_to_summary, AsSingleton(counts), AsSingleton(decision))
    )


@beam.ptransform_fn
def SaveSummary(  # noqa: N802
    summary: beam.PCollection[dict[str, Any]], *, path: str
) -> beam.PCollection[str]:
    """Saves the summary to a file that the executor reads once the pipeline has ended."""
    return summary | "Save" >> beam.Map(_save, path)


@beam.ptransform_fn
def WriteLists(  # noqa: N802
    parts: Parts,
    counts: beam.PCollection[Counts],
    *,
    folder: str,
    lines_per_file: int = LINES_PER_FILE,
) -> beam.PCollection[str]:
    """Writes all tracks, the content hashes of the training split, and all that was left out.

    Args:
      parts: Result of `Decide`.
      counts: Result of `Count` for it.
      folder: URI of the report.
      lines_per_file: About the most lines of a file.

    Returns:
      The paths written.
    """
    return (
        (
            parts["placed"] | "TrackRows" >> beam.FlatMap(_track_rows),
            parts["left_out"] | "LeftOutRows" >> beam.Map(_left_out_line),
            parts["near_duplicates"] | "PairRows" >> beam.Map(_pair_line),
        )
        | "Rows" >> beam.Flatten()
        | "Write"
        >> WriteLines(
            counts | "Sizes" >> beam.Map(_sizes),
            folder=folder,
            lists=_LISTS,
            lines_per_file=lines_per_file,
        )
    )


def load_summary(path: str) -> dict[str, Any]:
    """Loads the summary that `SaveSummary` saved."""
    values: dict[str, Any] = json.loads(files.read(path))
    return values


# Name and part of it; then how many are named, what they are ordered by, and what is named.
_Entry = tuple[tuple[str, str], tuple[int, Any, Any]]


class _First(beam.CombineFn):
    """Keeps the first few by order, as many as the entries say."""

    def create_accumulator(self) -> list[tuple[int, Any, Any]]:
        return []

    def add_input(
        self, first: list[tuple[int, Any, Any]], entry: tuple[int, Any, Any]
    ) -> list[tuple[int, Any, Any]]:
        first.append(entry)
        return self._cut(first) if len(first) > 2 * entry[0] else first

    def merge_accumulators(
        self, accumulators: Iterable[list[tuple[int, Any, Any]]]
    ) -> list[tuple[int, Any, Any]]:
        return self._cut([entry for first in accumulators for entry in first])

    def extract_output(self, first: list[tuple[int, Any, Any]]) -> list[Any]:
        return [value for _, _, value in self._cut(first)]

    def _cut(self, first: list[tuple[int, Any, Any]]) -> list[tuple[int, Any, Any]]:
        most = first[0][0] if first else 0
        return sorted(first, key=lambda entry: entry[1])[:most]


def _name_placed(placed: Placed) -> Iterator[_Entry]:
    split, track = placed
    seconds = track.duration_seconds
    yield ("shortest_seconds", ""), (1, seconds, seconds)
    yield ("longest_seconds", ""), (1, -seconds, seconds)
    values = {column: getattr(track, column) for column in _COLUMNS}
    yield ("drawn", track.genre), (1, (splits.SPLITS.index(split), track.track_id), values)


def _name_left_out(track: Examined) -> _Entry:
    return ("left_out", track.fault), (MOST_NAMED, track.path, _left_out_row(track))


def _name_pair(row: dict[str, Any]) -> _Entry:
    order = (not row["across_splits"], row["first"], row["second"])
    return ("near_duplicates", ""), (MOST_NAMED, order, row)


def _name_unmatched(track_id: str) -> _Entry:
    return ("unmatched", ""), (MOST_NAMED, track_id, track_id)


def _to_summary(
    named: Iterable[tuple[tuple[str, str], list[Any]]], counts: Counts, decision: Decision
) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: []
        for name in (
            "left_out",
            "near_duplicates",
            "unmatched",
            "shortest_seconds",
            "longest_seconds",
            "drawn",
        )
    }
    for (name, _), some in named:
        values[name] += some
    return {"counts": counts.to_values(), "failure": decision.failure, **values}


def _left_out_row(track: Examined) -> dict[str, Any]:
    return {
        "path": track.path,
        "reason": track.fault,
        "detail": track.detail,
        "fault": track.fault not in tracks.NO_FAULT,
    }


def _track_rows(placed: Placed) -> Iterator[Row]:
    split, track = placed
    line = _csv_line([split, *(getattr(track, column) for column in _COLUMNS)])
    yield TRACKS, f"{splits.SPLITS.index(split)}\0{track.track_id}", line
    if split == splits.TRAIN:
        yield TRAINING_TRACKS, track.content, track.content


def _left_out_line(track: Examined) -> Row:
    return LEFT_OUT, track.path, json.dumps(_left_out_row(track), ensure_ascii=False)


def _pair_line(row: dict[str, Any]) -> Row:
    order = f"{row['first']}\0{row['second']}"
    return NEAR_DUPLICATES, order, json.dumps(row, ensure_ascii=False)


def _sizes(counts: Counts) -> dict[str, int]:
    return {
        TRACKS: counts.accepted,
        TRAINING_TRACKS: counts.splits()[splits.TRAIN],
        LEFT_OUT: counts.files - counts.accepted,
        NEAR_DUPLICATES: counts.near_duplicates,
    }


def _csv_line(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


_LISTS = {
    TRACKS: Lines(".csv", header=_csv_line(["split", *_COLUMNS])),
    TRAINING_TRACKS: Lines(".txt"),
    LEFT_OUT: Lines(".jsonl"),
    NEAR_DUPLICATES: Lines(".jsonl"),
}


def _save(summary: dict[str, Any], path: str) -> str:
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(json.dumps(summary).encode())
    return path
