"""The content of the ingest report: one element, whose size does not grow with the music."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from components.example_gen.counts import Counts
from components.example_gen.decide import Decided
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.lists import left_out_row
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits

# How much the summary names: files left out for each reason, pairs, ids.
MOST_NAMED = 500


class _Named(NamedTuple):
    """What the summary may name, and what decides which it names."""

    order: Any
    value: Any


_List = tuple[str, str]  # name of a list in the summary, and part of it


@beam.ptransform_fn
def Summarise(  # noqa: N802 - a PTransform is named as a class
    decided: Decided, counts: beam.PCollection[Counts], *, folder: str, settings: IngestSettings
) -> beam.PCollection[dict[str, Any]]:
    """Makes the content of `report.json`.

    It has `tracks` by genre and split, `splits` totals, `reasons` totals of the files that were
    left out, and more. Lists are complete up to `most_named` entries (`rejected`: of each reason):
    `rejected` files with `reason`, `detail` and `fault` (whether it counts against the data), and
    `near_duplicates`, pairs with `across_splits`, whether it leaks. `pairs`, `leaks` and
    `unmatched` are numbers of all.

    Args:
      decided: Result of `Decide`.
      counts: Result of `Count` for it.
      folder: The genre folders' parent.
      settings: Ingest settings.
    """
    return (
        (
            decided.tracks | "NameTracks" >> beam.FlatMap(_name_track),
            decided.pairs | "NamePairs" >> beam.Map(_name_pair),
            decided.unmatched
            | "NameUnmatched" >> beam.Map(lambda name: (("unmatched", ""), _Named(name, name))),
        )
        | "All" >> beam.Flatten()
        | "First"
        >> beam.combiners.Top.PerKey(MOST_NAMED, reverse=True, key=lambda named: named.order)
        | "FirstOfAll" >> beam.combiners.ToDict()
        | "Summary" >> beam.Map(_to_report, AsSingleton(counts), folder, settings)
    )


def _name_track(track: Examined) -> Iterator[tuple[_List, _Named]]:
    if track.fault:
        yield ("left_out", track.fault), _Named(track.path, left_out_row(track))
        return
    seconds = track.duration_seconds
    yield ("shortest_seconds", ""), _Named(seconds, seconds)
    yield ("longest_seconds", ""), _Named(-seconds, seconds)


def _name_pair(pair: NearDuplicate) -> tuple[_List, _Named]:
    order = (not pair.across_splits, pair.first, pair.second)
    return ("near_duplicates", ""), _Named(order, pair.row())


def _to_report(
    named: dict[_List, list[_Named]], counts: Counts, folder: str, settings: IngestSettings
) -> dict[str, Any]:
    def values(name: str) -> list[Any]:
        lists = (entries for (list_name, _), entries in named.items() if list_name == name)
        return [entry.value for entries in lists for entry in entries]

    reasons = sorted(counts.left_out.items(), key=lambda item: (-item[1], item[0]))
    return {
        "source": folder,
        "files": counts.files,
        "accepted": counts.accepted,
        "faulty": counts.faulty,
        "most_faulty": settings.most_faulty(counts.files),
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
        "shortest_seconds": min(values("shortest_seconds"), default=0.0),
        "longest_seconds": max(values("longest_seconds"), default=0.0),
        "sample_rates_hz": {
            str(rate): number for rate, number in sorted(counts.sample_rates_hz.items())
        },
    }
