"""Lists that grow with the music, as files of lines, so that they are no part of a job or element.

What a pipeline reads is one file, written before it runs; what it writes is several files, each of
a bounded number of lines.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.example_gen import files
from components.gtzan import splits

LINES_PER_FILE = 10_000

# Name of the list, what its rows are ordered by, and the line.
Row = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Lines:
    """A list that is written.

    Attributes:
      suffix: End of its files' names.
      header: First line of each file; "" for none.
    """

    suffix: str
    header: str = ""


def save_lines(path: str, values: Iterable[Any]) -> None:
    """Writes a file with a line of JSON for each value, which `ReadLines` reads.

    Args:
      path: Where to write; a local path, gs:// or s3://.
      values: Plain values.
    """
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(b"\n")  # object stores take no empty file
        for value in values:
            file.write(f"{json.dumps(value)}\n".encode())


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
def ReadLines(pipeline: beam.Pipeline, *, path: str) -> beam.PCollection[str]:  # noqa: N802
    """Reads the lines that `save_lines` wrote; JSON, as Beam passes on no text with surrogates."""
    return (
        pipeline
        | "Read" >> beam.io.ReadFromText(files.quoted(path))
        | "SkipBlank" >> beam.Filter(bool)
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(Row)
@beam.typehints.with_output_types(str)
def WriteLines(  # noqa: N802
    rows: beam.PCollection[Row],
    sizes: beam.PCollection[dict[str, int]],
    *,
    folder: str,
    lists: Mapping[str, Lines],
    lines_per_file: int = LINES_PER_FILE,
) -> beam.PCollection[str]:
    """Writes lists to files `<name>-00000-of-00003<suffix>`; without rows, no file.

    The hash of what a row is ordered by decides its file, and each file is in order: the same rows
    give the same files.

    Args:
      rows: The rows of all lists.
      sizes: One element: number of rows of each list.
      folder: Where to write; a local path, gs:// or s3://.
      lists: The lists by name.
      lines_per_file: About the most lines of a file.

    Returns:
      The paths written.
    """
    known_sizes = beam.pvalue.AsSingleton(sizes)
    return (
        rows
        | "Deal" >> beam.Map(_deal, known_sizes, lines_per_file)
        | "Group" >> beam.GroupByKey()
        | "Write" >> beam.Map(_write, known_sizes, lines_per_file, folder, dict(lists))
    )


_File = tuple[str, int]  # name of the list, and number of the file


def _files(rows: int, lines_per_file: int) -> int:
    return -(-rows // lines_per_file)


def _deal(row: Row, sizes: dict[str, int], lines_per_file: int) -> tuple[_File, tuple[str, str]]:
    name, order, line = row
    number = int(splits.position(order, seed=-1) * _files(sizes[name], lines_per_file))
    return (name, number), (order, line)


def _write(
    item: tuple[_File, Iterable[tuple[str, str]]],
    sizes: dict[str, int],
    lines_per_file: int,
    folder: str,
    lists: dict[str, Lines],
) -> str:
    (name, index), rows = item
    count = _files(sizes[name], lines_per_file)
    path = f"{folder}/{name}-{index:05d}-of-{count:05d}{lists[name].suffix}"
    header = [lists[name].header] if lists[name].header else []
    text = "".join(f"{line}\n" for line in [*header, *(line for _, line in sorted(rows))])
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(text.encode())
    return path
