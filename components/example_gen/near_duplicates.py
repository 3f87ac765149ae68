"""Finds near-duplicates among fingerprints, as steps of a Beam pipeline (see `duplicates.py`)."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from components.audio.fingerprints import SPEED_STEP, Fingerprint
from components.example_gen import duplicates
from components.example_gen.duplicates import Match, NearDuplicate, TellingWords

# A track's path, and its fingerprint as bytes.
Heard = tuple[str, bytes]

# 650 words each, so that the index of a part takes some 40 MB.
_TRACKS_PER_PART = 5000
# A track asks by its words as they are, and by those of a copy that is faster.
_SPEEDS = (1.0, SPEED_STEP)

# Which half of the words, and number of the part.
_Part = tuple[int, int]
# A track in a part of the search: its path, and those of its words that belong there, by `_SPEEDS`.
# Bytes, as there is an entry for each track in each part, and arrays take several times the room.
_Entry = tuple[str, list[bytes]]
# What a track has in common with others in a part: the number of its speed, the others' paths, and
# `duplicates.Hits`, which number them.
_Hits = tuple[int, list[str], bytes]


class _Candidate(NamedTuple):
    """A track that asks about another one: where it lies in that, and that one's fingerprint."""

    path: str
    speed: int
    shift: int
    fingerprint: bytes = b""


class _Ranked(NamedTuple):
    """A match of a pair, by its distance and by what decides between equal ones."""

    distance: float
    turned: bool
    speed: int
    shift: int
    match: Match


def parts_for(tracks: int) -> int:
    """Into how many parts the words of so many tracks are divided; what is found is the same."""
    return max(1, -(-tracks // _TRACKS_PER_PART))


@beam.ptransform_fn
@beam.typehints.with_input_types(Heard)
@beam.typehints.with_output_types(NearDuplicate)
def FindNearDuplicates(  # noqa: N802 - a PTransform is named as a class
    heard: beam.PCollection[Heard], *, parts: int
) -> beam.PCollection[NearDuplicate]:
    """Finds all pairs of tracks that are near-duplicates; a pair is ordered by path.

    Words are divided by the hash of one half of them, and once more by the other half: whatever
    differs in one bit has one half in common, so each part of the words is searched by itself, and
    the result does not depend on the number of parts.

    Args:
      heard: The fingerprints.
      parts: Number of parts, see `parts_for`.
    """
    candidates = (
        heard
        | "Divide" >> beam.FlatMap(_divide, parts)
        | "Parts" >> beam.GroupByKey()
        | "LookUp" >> beam.FlatMapTuple(_look_up)
        | "HitsOfTrack" >> beam.GroupByKey()
        | "Candidates" >> beam.FlatMapTuple(_candidates)
    )
    with_other = (
        {"words": heard, "candidates": candidates}
        | "WordsOfOther" >> beam.CoGroupByKey()
        | "WithOther" >> beam.FlatMapTuple(_with_other)
    )
    return (
        {"words": heard, "candidates": with_other}
        | "OwnWords" >> beam.CoGroupByKey()
        | "Compare" >> beam.FlatMapTuple(_compare)
        | "Best" >> beam.CombinePerKey(min)
        | "Pair" >> beam.MapTuple(lambda paths, best: best.match.pair(*paths))
    )


def _divide(track: Heard, parts: int) -> Iterator[tuple[_Part, _Entry]]:
    path, data = track
    by_speed = [duplicates.telling(words) for words in _words_by_speed(data)]
    for half, shift in enumerate((16, 0)):  # the half of a word that no flip of FLIPS touches
        part_of = [
            (_mixed(words >> shift & 0xFFFF).astype(np.uint64) * parts) >> 16
            for words, _ in by_speed
        ]
        for part in range(parts):
            inside = [
                TellingWords(words[numbers == part], frames[numbers == part]).to_bytes()
                for (words, frames), numbers in zip(by_speed, part_of, strict=True)
            ]
            if any(inside):
                yield (half, part), (path, inside)


def _mixed(halves: np.ndarray) -> np.ndarray:
    """Mixes 16-bit numbers, so that neighbours are apart."""
    return (halves * np.uint32(40_503)) & 0xFFFF


def _look_up(part: _Part, members: Iterable[_Entry]) -> Iterator[tuple[str, _Hits]]:
    """Yields what each track has in common with others, by path."""
    entries = sorted(members)
    index = duplicates.Index([TellingWords.from_bytes(words[0]) for _, words in entries])
    for number, (path, by_speed) in enumerate(entries):
        for speed, data in enumerate(by_speed):
            words = TellingWords.from_bytes(data)
            hits = index.hits(number, words, speed=_SPEEDS[speed], flips=duplicates.FLIPS[part[0]])
            others, local = np.unique(hits.other, return_inverse=True)
            if len(others):
                paths = [entries[other][0] for other in others]
                yield path, (speed, paths, hits._replace(other=local).to_bytes())


def _candidates(path: str, hits_of_parts: Iterable[_Hits]) -> Iterator[tuple[str, _Candidate]]:
    numbers: dict[str, int] = {}
    by_speed: list[list[duplicates.Hits]] = [[] for _ in _SPEEDS]
    for speed, others, data in hits_of_parts:
        hits = duplicates.Hits.from_bytes(data)
        renumbered = np.array([numbers.setdefault(other, len(numbers)) for other in others])
        by_speed[speed].append(hits._replace(other=renumbered[hits.other]))
    names = list(numbers)
    for speed, hits_of_speed in enumerate(by_speed):
        if hits_of_speed:
            columns = zip(*hits_of_speed, strict=True)
            hits = duplicates.Hits(*map(np.concatenate, columns))
            for other, shift in duplicates.candidates(hits):
                yield names[other], _Candidate(path, speed, shift)


def _with_other(other: str, joined: dict[str, list[Any]]) -> Iterator[tuple[str, _Candidate]]:
    """Turns candidates round: by the track that asks, with the other one's fingerprint."""
    for candidate in joined["candidates"]:
        (fingerprint,) = joined["words"]
        yield candidate.path, candidate._replace(path=other, fingerprint=fingerprint)


def _compare(path: str, joined: dict[str, list[Any]]) -> Iterator[tuple[tuple[str, str], _Ranked]]:
    for other, speed, shift, fingerprint in joined["candidates"]:
        own, (others, _) = _words_by_speed(joined["words"][0]), _words_by_speed(fingerprint)
        match = duplicates.compare(own[speed], others, _SPEEDS[speed], shift)
        if match is not None:
            turned = other < path
            ranked = match.reversed() if turned else match
            pair = (min(path, other), max(path, other))
            yield pair, _Ranked(match.distance, turned, speed, shift, ranked)


def _words_by_speed(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    fingerprint = Fingerprint.from_bytes(data)
    return fingerprint.words, fingerprint.faster
