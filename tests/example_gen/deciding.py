"""Runs the deciding part of ingest on made-up facts, on Beam's direct runner."""

import collections
import dataclasses
import threading

import apache_beam as beam

from components.example_gen import decide, summary
from components.example_gen.counts import Count, Counts
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.near_duplicates import FindNearDuplicates
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan.genres import GENRES
from components.gtzan.splits import SPLITS
from tests.example_gen.conftest import BEAM_ARGS

_lock = threading.Lock()
_collected: dict[str, list] = collections.defaultdict(list)


def collect(element, name: str) -> None:
    """Keeps an element; the runner's workers are threads of this process."""
    with _lock:
        _collected[name].append(element)


def through(elements, transform) -> list:
    """What a transform makes of elements, in no order."""
    _collected.clear()
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        pipeline | beam.Create(list(elements)) | transform | beam.Map(collect, "made")
    return _collected["made"]


@dataclasses.dataclass
class Decided:
    """What was decided: tracks by split, what was left out, pairs, counts and the report."""

    splits: dict[str, list[Examined]]
    left_out: list[Examined]
    near_duplicates: list[NearDuplicate]
    unmatched: list[str]
    counts: Counts
    report: dict

    @property
    def accepted(self) -> list[Examined]:
        return [track for members in self.splits.values() for track in members]


def run(examined, *, labels=None, **changes) -> Decided:
    """Decides on facts, in an order of their own."""
    settings = IngestSettings(**{"genres": GENRES, **changes})
    _collected.clear()
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        read = pipeline | "Labels" >> beam.Create(list(labels.items())) if labels else None
        decided = (
            pipeline
            | beam.Create(list(examined))
            | decide.Decide(read, settings=settings, files=len(examined))
        )
        counts = decided | Count(settings=settings, output="s3://bucket/out")
        report = decided | summary.Summarise(counts, folder="music", settings=settings)
        for name, elements in {**decided._asdict(), "counts": counts, "report": report}.items():
            elements | f"Collect_{name}" >> beam.Map(collect, name)
    by_split = {split: [] for split in (*SPLITS, "")}
    for track in sorted(_collected["tracks"], key=lambda track: track.track_id):
        by_split[track.split].append(track)
    left_out = sorted(by_split.pop(""), key=lambda track: track.path)
    assert all(track.fault for track in left_out)
    (counts,), (report,) = _collected["counts"], _collected["report"]
    return Decided(
        by_split,
        left_out,
        sorted(_collected["pairs"], key=lambda pair: (pair.first, pair.second)),
        sorted(_collected["unmatched"]),
        counts,
        report,
    )


def search(fingerprints, *, parts: int = 1) -> list[NearDuplicate]:
    """The near-duplicates among fingerprints by name, in order."""
    heard = [(name, fingerprint.to_bytes()) for name, fingerprint in fingerprints.items()]
    pairs = through(heard, FindNearDuplicates(parts=parts))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))
