"""No element grows with the number of tracks: every PCollection is measured, at two sizes."""

import collections
import pickle
import threading
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pipeline import PipelineVisitor

from components.audio.fingerprints import Fingerprint
from components.example_gen import decide, ingest, lists, near_duplicates, summary
from components.example_gen.counts import Count
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from tests.example_gen.conftest import BEAM_ARGS

GENRES = ("hum", "hiss")
_lock = threading.Lock()
_largest: dict[str, int] = collections.Counter()


def listed(value):
    """A value whose iterables, which an engine streams, are lists that can be measured."""
    if isinstance(value, str | bytes | dict | np.ndarray) or not isinstance(value, Iterable):
        return value
    return [listed(one) for one in value]


def measure(element, name: str) -> None:
    size = len(pickle.dumps(listed(element)))
    with _lock:
        _largest[name] = max(_largest[name], size)


class Outputs(PipelineVisitor):
    """Gathers every PCollection by the full name of its step."""

    def __init__(self) -> None:
        self.found: dict[str, beam.PCollection] = {}

    def visit_transform(self, node) -> None:
        # These an engine replaces by steps of its own, without what is between them.
        if isinstance(node.parent.transform, beam.CombinePerKey) or "Reshuffle" in node.full_label:
            return
        for tag, output in node.outputs.items():
            self.found[f"{node.full_label} {tag}"] = output

    def leave_composite_transform(self, node) -> None:
        if isinstance(node.transform, beam.CombinePerKey):
            self.found[node.full_label] = node.outputs[None]


def made_up(number: int) -> Examined:
    """Facts of a track; one in ten is faulty, one in ten a copy, one in ten a near-duplicate."""
    genre = GENRES[number % 2]
    path = f"{genre}/{number:06d}.wav"
    draw = np.random.default_rng(number - 1 if number % 10 == 3 else number)
    return Examined(
        path,
        f"{genre}.{number:06d}",
        genre,
        fault="not audio" if number % 10 == 1 else "",
        content=f"{number - 1 if number % 10 == 5 else number:032d}",
        duration_seconds=30.0 + number / 1e6,
        source_sample_rate_hz=22_050,
        audio_bytes=1,
        fingerprint=Fingerprint(
            draw.integers(0, 2**32, 130, dtype=np.uint32),
            draw.integers(0, 2**32, 130, dtype=np.uint32),
        ).to_bytes(),
    )


def largest_elements(count: int, folder) -> dict[str, int]:
    """The size of the largest element of each step, in bytes, for so many files."""
    settings = IngestSettings(GENRES, max_rejected=0.5, tracks_per_shard=1)
    pipeline = beam.Pipeline(argv=BEAM_ARGS)
    decided = (
        pipeline | beam.Create(range(count)) | beam.Map(made_up) | decide.Decide(
            settings=settings, files=count
        )
    )  # fmt: skip
    counts = decided | Count(settings=settings, output="s3://bucket/out")
    decided | summary.Summarise(counts, folder="music", settings=settings)
    decided | lists.WriteLists(counts, folder=str(folder), lines_per_file=8)
    decided.tracks | ingest.DealShards(counts, settings=settings)
    outputs = Outputs()
    pipeline.visit(outputs)
    for name, output in outputs.found.items():
        output | f"Measure {name}" >> beam.Map(measure, name)
    _largest.clear()
    pipeline.run().wait_until_finish()
    return dict(_largest)


@pytest.mark.slow
def test_no_element_grows_with_the_number_of_tracks(tmp_path, monkeypatch):
    # Bounds that so few tracks reach.
    monkeypatch.setattr(near_duplicates, "_TRACKS_PER_PART", 20)
    monkeypatch.setattr(ingest, "SHARDS_PER_BUCKET", 8)
    monkeypatch.setattr(summary, "MOST_NAMED", 5)
    few, many = (largest_elements(count, tmp_path) for count in (60, 420))
    assert len(few) > 50 and few.keys() == many.keys()
    grown = {name: (few[name], size) for name, size in many.items() if size > 2 * few[name] + 500}
    assert grown == {}
    # It would see one that does: all the facts in one list.
    assert 420 * len(pickle.dumps(made_up(0))) > 3 * max(few.values())
