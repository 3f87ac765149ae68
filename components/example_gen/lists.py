"""Lists that grow with the music, as files of lines, so that they are no part of a job or element.

What a pipeline reads is one file, written before it runs; what it writes is several files, each of
a bounded number of lines.
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

from components.common.csv_cells import escape_csv_cell
from components.example_gen import files, tracks
from components.example_gen.counts import Counts
from components.example_gen.decide import Decided
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.tracks import Examined
from components.gtzan import splits

LINES_PER_FILE = 10_000

# What reports and lists say of an accepted track.
_COLUMNS = tuple(
    field.name
    for field in dataclasses.fields(Examined)
    if field.name not in ("fault", "detail", "fingerprint", "label", "split")
)
_TRACKS, _TRAINING_TRACKS = "tracks", "training_tracks"
_LEFT_OUT, _NEAR_DUPLICATES = "left_out", "near_duplicates"
_SUFFIXES = {
    _TRACKS: ".csv",
    _TRAINING_TRACKS: ".txt",
    _LEFT_OUT: ".jsonl",
    _NEAR_DUPLICATES: ".jsonl",
}

_Row = tuple[str, str, str]  # name of the list, what its rows are ordered by, and the line
_File = tuple[str, int]  # name of the list, and number of the file


def save_lines(path: str, values: Iterable[Any]) -> None:
    """Writes a file with a line of JSON for each value, which `ReadLines` reads."""
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(b"\n")  # object stores take no empty file
        for value in values:
            file.write(f"{json.dumps(value)}\n".encode())


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
def ReadLines(pipeline: beam.Pipeline, *, path: str) -> beam.PCollection[str]:  # noqa: N802 - a PTransform is named as a class
    """Reads the lines that `save_lines` wrote; JSON, as Beam passes on no text with surrogates."""
    return (
        pipeline
        | "Read" >> beam.io.ReadFromText(files.quoted(path))
        | "SkipBlank" >> beam.Filter(bool)
    )


@beam.ptransform_fn
def WriteLists(  # noqa: N802
    decided: Decided,
    counts: beam.PCollection[Counts],
    *,
    folder: str,
    lines_per_file: int = LINES_PER_FILE,
) -> beam.PCollection[str]:
    """Writes all tracks, the content hashes of the training split, and all that was left out.

    Files are `<list>-00000-of-00003<suffix>`; a list without rows has none. The hash of what a row
    is ordered by decides its file, and each file is in order: the same rows give the same files.

    Args:
      decided: Result of `Decide`.
      counts: Result of `Count` for it.
      folder: URI of the report.
      lines_per_file: About the most lines of a file.
    """
    files_of_list = AsSingleton(counts | "Files" >> beam.Map(_files_of_list, lines_per_file))
    return (
        (
            decided.tracks | "TrackRows" >> beam.FlatMap(_track_rows),
            decided.pairs | "PairRows" >> beam.Map(_pair_row),
        )
        | "Rows" >> beam.Flatten()
        | "Deal" >> beam.Map(_deal, files_of_list)
        | "Group" >> beam.GroupByKey()
        | "Write" >> beam.Map(_write, files_of_list, folder)
    )


def left_out_row(track: Examined) -> dict[str, Any]:
    """A file that was left out, as reports and lists have it."""
    return {
        "path": track.path,
        "reason": track.fault,
        "detail": track.detail,
        "fault": track.fault not in tracks.NO_FAULT,
    }


def csv_line(values: Iterable[Any]) -> str:
    """A line of a CSV file without its end; no cell is a formula to a spreadsheet."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([escape_csv_cell(value) for value in values])
    return text.getvalue()


def _files_of_list(counts: Counts, lines_per_file: int) -> dict[str, int]:
    rows = {
        _TRACKS: counts.accepted,
        _TRAINING_TRACKS: counts.splits()[splits.TRAIN],
        _LEFT_OUT: counts.files - counts.accepted,
        _NEAR_DUPLICATES: counts.near_duplicates,
    }
    return {name: -(-number // lines_per_file) for name, number in rows.items()}


def _track_rows(track: Examined) -> Iterator[_Row]:
    if track.fault:
        yield _LEFT_OUT, track.path, json.dumps(left_out_row(track), ensure_ascii=False)
        return
    line = csv_line([track.split, *(getattr(track, column) for column in _COLUMNS)])
    yield _TRACKS, f"{splits.SPLITS.index(track.split)}\0{track.track_id}", line
    if track.split == splits.TRAIN:
        yield _TRAINING_TRACKS, track.content, track.content


def _pair_row(pair: NearDuplicate) -> _Row:
    line = json.dumps(pair.row(), ensure_ascii=False)
    return _NEAR_DUPLICATES, f"{pair.first}\0{pair.second}", line


def _deal(row: _Row, files_of_list: dict[str, int]) -> tuple[_File, tuple[str, str]]:
    name, order, line = row
    number = int(splits.position(order, seed=-1) * files_of_list[name])
    return (name, number), (order, line)


def _write(
    file: tuple[_File, Iterable[tuple[str, str]]], files_of_list: dict[str, int], folder: str
) -> str:
    (name, index), rows = file
    path = f"{folder}/{name}-{index:05d}-of-{files_of_list[name]:05d}{_SUFFIXES[name]}"
    header = [csv_line(["split", *_COLUMNS])] if name == _TRACKS else []
    text = "".join(f"{line}\n" for line in [*header, *(line for _, line in sorted(rows))])
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as output:
        output.write(text.encode())
    return path
