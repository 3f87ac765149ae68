"""Finds near-duplicates among fingerprints, as steps of a Beam pipeline (see `duplicates.py`)."""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np

from components.audio.fingerprints import SPEED_STEP, Fingerprint, Words
from components.example_gen import duplicates
from components.example_gen.duplicates import Match, NearDuplicate
from components.example_gen.joins import Join, Joined, first, keyed, side

# A track's path, and its fingerprint as bytes.
Heard = tuple[str, bytes]

# 650 words each, so that the index of a part takes some 40 MB.
_TRACKS_PER_PART = 5000


def parts_for(tracks: int) -> int:
    """Into how many parts the words of so many tracks are divided; what is found is the same."""
    return max(1, -(-tracks // _TRACKS_PER_PART))


@beam.ptransform_fn
@beam.typehints.with_input_types(Heard)
@beam.typehints.with_output_types(NearDuplicate)
def FindNearDuplicates(  # noqa: N802
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
    asked = (
        heard
        | "Divide" >> beam.FlatMap(_divide, parts)
        | "Parts" >> beam.GroupByKey()
        | "LookUp" >> beam.FlatMap(_look_up)
        | "HitsOfTrack" >> beam.GroupByKey()
        | "Candidates" >> beam.FlatMap(_candidates)
    )
    words = keyed(heard, "words", lambda one: one[0], lambda one: one[1])
    with_other = (
        (words, keyed(asked, "asked", lambda one: one[0], lambda one: one[1]))
        | "WordsOfOther" >> Join()
        | "WithOther" >> beam.FlatMap(_with_other)
    )
    return (
        (words, keyed(with_other, "with_other", lambda one: one[0], lambda one: one[1]))
        | "OwnWords" >> Join()
        | "Compare" >> beam.FlatMap(_compare)
        | "Best" >> beam.CombinePerKey(min)
        | "Pair" >> beam.Map(_pair)
    )


_Part = tuple[int, int]  # which half of the words, and number of the part
_Words = tuple[bytes, bytes]  # words, and their frames in the track
_BySpeed = tuple[_Words, _Words]  # as they are, and as of a faster copy
_SPEEDS = (1.0, SPEED_STEP)


def _divide(item: Heard, parts: int) -> Iterator[tuple[_Part, tuple[str, _BySpeed]]]:
    path, data = item
    both = [duplicates.telling(words) for words in _by_speed(data)]
    for half, shift in enumerate((16, 0)):  # the half of a word that no flip of FLIPS touches
        of_word = [
            (_hashed(words >> shift & 0xFFFF).astype(np.uint64) * parts) >> 16 for words, _ in both
        ]
        for part in range(parts):
            own, faster = (
                (words[numbers == part].tobytes(), frames[numbers == part].tobytes())
                for (words, frames), numbers in zip(both, of_word, strict=True)
            )
            if own[0] or faster[0]:
                yield (half, part), (path, (own, faster))


def _hashed(halves: np.ndarray) -> np.ndarray:
    """Mixes 16-bit numbers: neighbours are apart."""
    return (halves * np.uint32(40_503)) & 0xFFFF


def _look_up(
    item: tuple[_Part, Iterable[tuple[str, _BySpeed]]],
) -> Iterator[tuple[str, tuple[int, list[str], bytes]]]:
    """Yields what each track has in common with others, by path: speed, the others, and hits."""
    (half, _), members = item
    ordered = sorted(members)
    paths = [path for path, _ in ordered]
    by_track = [[_restored(one) for one in by_speed] for _, by_speed in ordered]
    index = duplicates.Index(
        np.concatenate([words for (words, _), _ in by_track]),
        np.repeat(np.arange(len(paths)), [len(words) for (words, _), _ in by_track]).astype("i4"),
        np.concatenate([frames for (_, frames), _ in by_track]),
    )
    for number, by_speed in enumerate(by_track):
        for faster, (words, frames) in enumerate(by_speed):
            hits = index.hits(
                number, words, frames, speed=_SPEEDS[faster], flips=duplicates.FLIPS[half]
            )
            others, local = np.unique(hits.other, return_inverse=True)
            if len(others):
                table = np.stack([hits.own, local, hits.shift]).astype("<i4")
                yield paths[number], (faster, [paths[one] for one in others], table.tobytes())


def _restored(words: _Words) -> tuple[Words, duplicates.Integers]:
    return np.frombuffer(words[0], np.uint32), np.frombuffer(words[1], np.int32)


# The track that asks, whether it is as of a faster copy, and where it lies in the other.
_Asked = tuple[str, int, int]


def _candidates(
    item: tuple[str, Iterable[tuple[int, list[str], bytes]]],
) -> Iterator[tuple[str, _Asked]]:
    path, found = item
    numbers: dict[str, int] = {}
    tables: list[list[np.ndarray]] = [[], []]
    for faster, others, data in found:
        table = np.frombuffer(data, "<i4").reshape(3, -1)
        renumbered = np.array([numbers.setdefault(other, len(numbers)) for other in others])
        tables[faster].append(np.stack([table[0], renumbered[table[1]], table[2]]))
    names = list(numbers)
    for faster, of_speed in enumerate(tables):
        if of_speed:
            for other, shift in duplicates.candidates(
                duplicates.Hits(*np.concatenate(of_speed, axis=1))
            ):
                yield names[other], (path, faster, shift)


def _with_other(joined: Joined) -> Iterator[tuple[str, tuple[str, bytes, int, int]]]:
    other = joined[0]
    words = first(joined, "words")
    for path, faster, shift in side(joined, "asked"):
        yield path, (other, words, faster, shift)


_Best = tuple[float, int, int, int, Match]  # its distance, and what decides between equal ones


def _compare(joined: Joined) -> Iterator[tuple[tuple[str, str], _Best]]:
    path = joined[0]
    own = _by_speed(first(joined, "words"))
    for other, data, faster, shift in side(joined, "with_other"):
        others, _ = _by_speed(data)
        match = duplicates.compare(own[faster], others, _SPEEDS[faster], shift)
        if match is None:
            continue
        turned = other < path
        ranked = match.reversed() if turned else match
        yield (
            (min(path, other), max(path, other)),
            (match.distance, int(turned), faster, shift, ranked),
        )


def _pair(item: tuple[tuple[str, str], _Best]) -> NearDuplicate:
    (first, second), best = item
    return duplicates.pair(first, second, best[-1])


def _by_speed(data: bytes) -> tuple[Words, Words]:
    fingerprint = Fingerprint.from_bytes(data)
    return fingerprint.words, fingerprint.faster
