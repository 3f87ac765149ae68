"""What the report needs of the decided files, in Beam: numbers, samples and tops, and full lists.

The summary is one element of bounded size. What grows with the music is written to files of a
bounded number of lines each.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton

from components.common.csv_cells import escape_csv_cell
from components.example_gen import files, tracks
from components.example_gen.decide import Decided
from components.example_gen.lists import LINES_PER_FILE, Lines, Row, WriteLines
from components.example_gen.plan import Counts
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits

TRACKS, TRAINING_TRACKS = "tracks", "training_tracks"
LEFT_OUT, NEAR_DUPLICATES = "left_out", "near_duplicates"
# How much the summary names: files left out for each reason, pairs, ids.
MOST_NAMED = 500
_COLUMNS = tuple(
    field.name
    for field in dataclasses.fields(Examined)
    if field.name not in ("fault", "detail", "fingerprint", "label", "split")
)


@beam.ptransform_fn
def Summarise(  # noqa: N802
    decided: Decided, counts: beam.PCollection[Counts], *, folder: str, settings: IngestSettings
) -> beam.PCollection[dict[str, Any]]:
    """Makes one element of plain values, whose size does not grow with the music.

    Args:
      decided: Result of `Decide`.
      counts: Result of `Count` and `Judge` for it.
      folder: The genre folders' parent.
      settings: Ingest settings.

    Returns:
      `report`, the content of `report.json` (see `_to_report`), and `drawn`, a track of each genre.
    """
    return (
        (
            decided.tracks | "NameTracks" >> beam.FlatMap(_name_track),
            decided.pairs | "NamePairs" >> beam.Map(_name_pair),
            decided.unmatched
            | "NameUnmatched" >> beam.Map(lambda name: (("unmatched", ""), _Named(name, name))),
        )
        | "All" >> beam.Flatten()
        | "First" >> beam.combiners.Top.PerKey(MOST_NAMED, reverse=True, key=_order)
        | "FirstOfAll" >> beam.combiners.ToDict()
        | "Summary" >> beam.Map(_to_summary, AsSingleton(counts), folder, settings)
    )


@beam.ptransform_fn
def SaveSummary(  # noqa: N802
    summary: beam.PCollection[dict[str, Any]], *, path: str
) -> beam.PCollection[str]:
    """Saves the summary to a file that the executor reads once the pipeline has ended."""
    return summary | "Save" >> beam.Map(_save, path)


@beam.ptransform_fn
def WriteLists(  # noqa: N802
    decided: Decided,
    counts: beam.PCollection[Counts],
    *,
    folder: str,
    lines_per_file: int = LINES_PER_FILE,
) -> beam.PCollection[str]:
    """Writes all tracks, the content hashes of the training split, and all that was left out.

    Args:
      decided: Result of `Decide`.
      counts: Result of `Count` for it.
      folder: URI of the report.
      lines_per_file: About the most lines of a file.

    Returns:
      The paths written.
    """
    return (
        (
            decided.tracks | "TrackRows" >> beam.FlatMap(_track_rows),
            decided.pairs | "PairRows" >> beam.Map(_pair_line),
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


class _Named(NamedTuple):
    """What the summary may name, and what decides which it names."""

    order: Any
    value: Any


_List = tuple[str, str]  # name of a list in the summary, and part of it


def _order(named: _Named) -> Any:
    return named.order


def _name_track(track: Examined) -> Iterator[tuple[_List, _Named]]:
    if track.fault:
        yield ("left_out", track.fault), _Named(track.path, _left_out_row(track))
        return
    seconds = track.duration_seconds
    yield ("shortest_seconds", ""), _Named(seconds, seconds)
    yield ("longest_seconds", ""), _Named(-seconds, seconds)
    order = (splits.SPLITS.index(track.split), track.track_id)
    yield ("drawn", track.genre), _Named(order, {name: getattr(track, name) for name in _COLUMNS})


def _name_pair(row: dict[str, Any]) -> tuple[_List, _Named]:
    order = (not row["across_splits"], row["first"], row["second"])
    return ("near_duplicates", ""), _Named(order, row)


def _to_summary(
    named: dict[_List, list[_Named]], counts: Counts, folder: str, settings: IngestSettings
) -> dict[str, Any]:
    def values(name: str, most: int = MOST_NAMED) -> list[Any]:
        return [
            one.value
            for (other, _), first in named.items()
            if other == name
            for one in first[:most]
        ]

    return {"report": _to_report(values, counts, folder, settings), "drawn": values("drawn", 1)}


def _to_report(
    values: Callable[..., list[Any]], counts: Counts, folder: str, settings: IngestSettings
) -> dict[str, Any]:
    """Makes the content of `report.json`.

    It has `tracks` by genre and split, `splits` totals, `reasons` totals of the files that were
    left out, and more. Lists are complete up to `most_named` entries (`rejected`: of each reason):
    `rejected` files with `reason`, `detail` and `fault` (whether it counts against the data), and
    `near_duplicates`, pairs with `across_splits`, whether it leaks. `pairs`, `leaks` and
    `unmatched` are numbers of all.
    """
    reasons = sorted(counts.left_out.items(), key=lambda item: (-item[1], item[0]))
    return {
        "source": folder,
        "files": counts.files,
        "accepted": counts.accepted,
        "faulty": counts.faulty,
        "max_rejected": settings.max_rejected,
        "failure": counts.failure,
        "split_method": settings.split.method,
        "split_seed": settings.split.seed,
        "tracks": {
            genre: {split: counts.tracks.get((genre, split), 0) for split in splits.SPLITS}
            for genre in settings.genres
        },
        "splits": counts.splits(),
        "reasons": dict(reasons),
        "most_named": MOST_NAMED,
        "rejected": sorted(values("left_out"), key=lambda row: row["path"]),
        "duplicates": settings.duplicates,
        "pairs": counts.near_duplicates,
        "leaks": counts.leaks,
        "near_duplicates": sorted(
            values("near_duplicates"), key=lambda pair: (pair["first"], pair["second"])
        ),
        "unmatched": counts.unmatched,
        "unmatched_tracks": sorted(values("unmatched")),
        "shortest_seconds": max(values("shortest_seconds", 1), default=0.0),
        "longest_seconds": max(values("longest_seconds", 1), default=0.0),
        "sample_rates_hz": {
            str(rate): number for rate, number in sorted(counts.sample_rates_hz.items())
        },
    }


def _left_out_row(track: Examined) -> dict[str, Any]:
    return {
        "path": track.path,
        "reason": track.fault,
        "detail": track.detail,
        "fault": track.fault not in tracks.NO_FAULT,
    }


def _track_rows(track: Examined) -> Iterator[Row]:
    if track.fault:
        yield LEFT_OUT, track.path, json.dumps(_left_out_row(track), ensure_ascii=False)
        return
    line = _csv_line([track.split, *(getattr(track, column) for column in _COLUMNS)])
    yield TRACKS, f"{splits.SPLITS.index(track.split)}\0{track.track_id}", line
    if track.split == splits.TRAIN:
        yield TRAINING_TRACKS, track.content, track.content


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


def _csv_line(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([escape_csv_cell(value) for value in values])
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
