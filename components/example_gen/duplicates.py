"""How near-duplicates are found: the same recording re-encoded, shifted, a little faster.

Words of fingerprints are in a sorted index. A track looks its words up in it, each with any one bit
flipped, as a re-encoded word often differs in one. Tracks that have several words in common, at
about one shift, are compared bit by bit. `near_duplicates.py` divides the work among workers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.audio.fingerprints import HOP_SECONDS, Words, bit_counts, distance

Integers = npt.NDArray[np.int32]

# Haitsma and Kalker's bound. Unrelated tracks differ in 0.44 or more of their bits, copies that
# were re-encoded, shifted and played 2 % faster in 0.2 to 0.3.
MOST_DISTANCE = 0.35
LEAST_SECONDS = 5.0

_LEAST_FRAMES = round(LEAST_SECONDS / HOP_SECONDS)
_LEAST_VOTES = 2
# Shifts are voted for in ranges of so many frames: what a difference of 1 % in speed adds up to
# over 30 s, and as much to spare.
_SHIFT_FRAMES = 16
# A word in more frames than this, as of a sustained tone or of silence, tells nothing.
_MOST_COMMON = 64
# So are words of nearly equal bits.
_FEWEST_BITS = 4
_SPEEDS = np.array([0.99, 0.995, 1.0, 1.005, 1.01])
_ONE_BIT = (1 << np.arange(32, dtype=np.uint64)).astype(np.uint32)
# Flips that leave the upper half of a word as it is, and those that leave the lower half. Each word
# and all that it is compared with is so found by one half of it, without a search of all words.
FLIPS = (np.concatenate([np.zeros(1, np.uint32), _ONE_BIT[:16]]), _ONE_BIT[16:])


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two tracks that sound like one recording.

    Attributes:
      first: Path of one.
      second: Path of the other, which is after it in order.
      distance: Share of the fingerprints' bits that differ, 0 to `MOST_DISTANCE`.
      shift_seconds: Where in the first the second begins; negative if it begins earlier.
      speed: How many times as fast the second is played.
      seconds: Length of what both have.
      splits: Split of each, None for a track that was left out; empty until they are known.
    """

    first: str
    second: str
    distance: float
    shift_seconds: float
    speed: float
    seconds: float
    splits: tuple[str | None, ...] = ()

    @property
    def across_splits(self) -> bool:
        """Whether a model may have heard in training what it is tested on."""
        return None not in self.splits and len(set(self.splits)) > 1

    def row(self) -> dict[str, Any]:
        """The pair as reports and lists have it."""
        return {**vars(self), "splits": list(self.splits), "across_splits": self.across_splits}


class Match(NamedTuple):
    """How words of one track lie in another: its frame n is the other's n / speed - shift / speed.

    Attributes:
      distance: Share of bits that differ.
      speed: How many times as fast the other is.
      shift_frames: Where in the one the other begins, in the one's frames.
      frames: Number of frames that both have.
    """

    distance: float
    speed: float
    shift_frames: float
    frames: int

    def reversed(self) -> "Match":
        """The same from the other's side."""
        return Match(self.distance, 1 / self.speed, -self.shift_frames / self.speed, self.frames)

    def pair(self, first: str, second: str) -> NearDuplicate:
        """The match of two tracks, in seconds."""
        return NearDuplicate(
            first,
            second,
            distance=round(self.distance, 4),
            shift_seconds=round(self.shift_frames * HOP_SECONDS, 2),
            speed=round(self.speed, 3),
            seconds=round(self.frames * HOP_SECONDS, 1),
        )


class TellingWords(NamedTuple):
    """Words of a track that are looked up, uint32 [n], and their frames in it, int32 [n]."""

    words: Words
    frames: Integers

    def to_bytes(self) -> bytes:
        """The words and their frames, 8 bytes a word."""
        return np.stack([self.words, self.frames.astype(np.uint32)]).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "TellingWords":
        """Restores what `to_bytes` wrote."""
        words, frames = np.frombuffer(data, np.uint32).reshape(2, -1)
        return cls(words, frames.astype(np.int32))


class Hits(NamedTuple):
    """Words of one track that others have, too.

    Attributes:
      own: int32 [n]: frame of the track.
      other: int32 [n]: number of the other track.
      shift: int32 [n]: where in the other the track's frame 0 lies, in frames.
    """

    own: Integers
    other: Integers
    shift: Integers

    def to_bytes(self) -> bytes:
        """The hits, 12 bytes each."""
        return np.stack(self).astype(np.int32).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Hits":
        """Restores what `to_bytes` wrote."""
        return cls(*np.frombuffer(data, np.int32).reshape(3, -1))


class Index:
    """Frames of tracks by word."""

    def __init__(self, tracks: Sequence[TellingWords]):
        """Sorts the words of tracks, which are numbered in order."""
        words = np.concatenate([track.words for track in tracks])
        order = np.argsort(words, kind="stable")
        numbers = np.repeat(np.arange(len(tracks)), [len(track.words) for track in tracks])
        self._words, self._track = words[order], numbers.astype(np.int32)[order]
        self._frame = np.concatenate([track.frames for track in tracks])[order]

    def hits(self, number: int, track: TellingWords, *, speed: float, flips: Words) -> Hits:
        """Looks up a track's words.

        Args:
          number: The track's own number, which is no hit.
          track: Words of it, as they are `speed` times as fast.
          speed: As above.
          flips: Bits in which a word may differ, see `FLIPS`.
        """
        asked = (track.words[:, np.newaxis] ^ flips).ravel()
        first = np.searchsorted(self._words, asked, side="left")
        counts = np.searchsorted(self._words, asked, side="right") - first
        counts[counts > _MOST_COMMON] = 0
        starts = np.repeat(first - np.cumsum(counts) + counts, counts)
        places = starts + np.arange(int(counts.sum()))
        own = np.repeat(np.repeat(track.frames, len(flips)), counts)
        elsewhere = self._track[places] != number
        own, places = own[elsewhere], places[elsewhere]
        shift = np.round(self._frame[places] - own / speed).astype(np.int32)
        return Hits(own, self._track[places], shift)


def telling(words: Words) -> TellingWords:
    """The words that are looked up, those of nearly equal bits left out."""
    ones = bit_counts(words)
    frames = np.flatnonzero((ones >= _FEWEST_BITS) & (ones <= 32 - _FEWEST_BITS))
    return TellingWords(words[frames], frames.astype(np.int32))


def candidates(hits: Hits) -> list[tuple[int, int]]:
    """Finds tracks with several words in common at about one shift.

    Args:
      hits: All hits of a track.

    Returns:
      Number of another track, and where in it the track's frame 0 lies, in frames.
    """
    # Two grids of ranges, so that no shift lies at the border of both.
    likely: set[tuple[int, int]] = set()
    for begin in (0, _SHIFT_FRAMES // 2):
        ranges = (hits.shift + begin) // _SHIFT_FRAMES
        votes = np.unique(np.stack([hits.other, ranges, hits.own]), axis=1)[:2]
        keys, count = np.unique(votes, axis=1, return_counts=True)
        for number, shift_range in keys[:, count >= _LEAST_VOTES].T:
            shift = int(shift_range) * _SHIFT_FRAMES - begin + _SHIFT_FRAMES // 2
            likely.add((int(number), shift))
    return sorted(likely)


def compare(words: Words, others: Words, speed: float, shift: int) -> Match | None:
    """Compares two tracks at shifts and speeds near those given; None if they are not alike."""
    frames = np.arange(len(words))
    best: Match | None = None
    for exact in speed * _SPEEDS:
        stretched = frames / exact
        for offset in range(shift - _SHIFT_FRAMES, shift + _SHIFT_FRAMES + 1):
            places = np.round(stretched + offset).astype(int)
            inside = (places >= 0) & (places < len(others))
            shared = int(inside.sum())
            if shared < _LEAST_FRAMES:
                continue
            differing = distance(words[inside], others[places[inside]])
            if differing <= (best.distance if best else MOST_DISTANCE):
                best = Match(differing, float(exact), -offset * float(exact), shared)
    return best
