"""Runs the deciding part of ingest on made-up facts, on Beam's direct runner."""

import collections
import dataclasses
import threading

import apache_beam as beam

from components.example_gen import decide, summary
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.near_duplicates import FindNearDuplicates
from components.example_gen.plan import Counts
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


def clear() -> None:
    """Forgets what was kept."""
    _collected.clear()


def collected(name: str) -> list:
    """What was kept under a name since `clear`, in no order."""
    return _collected[name]


@dataclasses.dataclass
class Decided:
    """What was decided: tracks by split, what was left out, pairs, and the summary."""

    splits: dict[str, list[Examined]]
    left_out: list[Examined]
    near_duplicates: list[dict]
    unmatched: list[str]
    facts: dict

    @property
    def accepted(self) -> list[Examined]:
        return [track for members in self.splits.values() for track in members]

    @property
    def failure(self) -> str:
        return self.facts["failure"]

    @property
    def counts(self) -> Counts:
        return Counts.from_values(self.facts["counts"])


def run(examined, *, labels=None, output: str = "s3://bucket/out", **changes) -> Decided:
    """Decides on facts, in an order of their own."""
    settings = IngestSettings(**{"genres": GENRES, **changes})
    _collected.clear()
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        read = pipeline | "Labels" >> beam.Create(list(labels.items())) if labels else None
        parts = (
            pipeline
            | beam.Create(list(examined))
            | decide.Decide(read, settings=settings, files=len(examined))
        )
        counts = parts | decide.Count()
        decision = counts | decide.Judge(settings=settings, output=output)
        facts = parts | summary.Summarise(counts, decision)
        for name, elements in {**parts, "facts": facts}.items():
            elements | f"Collect_{name}" >> beam.Map(collect, name)
    by_split = {split: [] for split in SPLITS}
    for split, track in _collected["placed"]:
        by_split[split].append(track)
    (facts,) = _collected["facts"]
    return Decided(
        {s: sorted(members, key=lambda one: one.track_id) for s, members in by_split.items()},
        sorted(_collected["left_out"], key=lambda one: one.path),
        sorted(_collected["near_duplicates"], key=lambda one: (one["first"], one["second"])),
        sorted(_collected["unmatched"]),
        facts,
    )


def search(fingerprints, *, parts: int = 1) -> list[NearDuplicate]:
    """The near-duplicates among fingerprints by name, in order."""
    heard = [(name, fingerprint.to_bytes()) for name, fingerprint in fingerprints.items()]
    _collected.clear()
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        (
            pipeline
            | beam.Create(heard)
            | FindNearDuplicates(parts=parts)
            | beam.Map(collect, "pairs")
        )
    return sorted(_collected["pairs"], key=lambda pair: (pair.first, pair.second))
