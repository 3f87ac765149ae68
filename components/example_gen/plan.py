"""What is decided from counts alone, and how tracks are dealt out to files: pure functions."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from components.example_gen import tracks
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import layout, splits

# Tracks are dealt out to the shards of one bucket by rank, so that those are of equal size; a
# bucket's tracks come together in one element. A split of up to so many shards is one bucket.
SHARDS_PER_BUCKET = 32


@dataclasses.dataclass(frozen=True)
class Counts:
    """What is known of all files in numbers.

    Attributes:
      tracks: Accepted tracks by genre and split.
      left_out: All other files by reason.
      audio_bytes: Size of the records' sound.
      near_duplicates: Pairs of tracks that sound like one recording.
      leaks: Those of them across splits.
      unmatched: Tracks on the split lists that are not in the data.
      sample_rates_hz: Accepted tracks by the rate of their file.
      failure: Why no records may be written, or "".
    """

    tracks: Mapping[tuple[str, str], int]
    left_out: Mapping[str, int]
    audio_bytes: int = 0
    near_duplicates: int = 0
    leaks: int = 0
    unmatched: int = 0
    sample_rates_hz: Mapping[int, int] = dataclasses.field(default_factory=dict)
    failure: str = ""

    @property
    def accepted(self) -> int:
        """Number of accepted tracks."""
        return sum(self.tracks.values())

    @property
    def faulty(self) -> int:
        """Number of files that count against the data."""
        return sum(n for reason, n in self.left_out.items() if reason not in tracks.NO_FAULT)

    @property
    def files(self) -> int:
        """Number of all audio files."""
        return self.accepted + sum(self.left_out.values())

    def splits(self) -> dict[str, int]:
        """Accepted tracks by split."""
        return {
            split: sum(n for (_, other), n in self.tracks.items() if other == split)
            for split in splits.SPLITS
        }


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file to write.

    Attributes:
      split: The split it belongs to.
      index: Its number in the split.
      count: Number of the split's shards.
      tracks: Its tracks, in order.
    """

    split: str
    index: int
    count: int
    tracks: tuple[Examined, ...]


def failure(counts: Counts, settings: IngestSettings) -> str:
    """Why nothing may be written, or "": too many faulty files, or a split that lacks a genre."""
    reasons = []
    if counts.faulty > settings.max_rejected * counts.files:
        reasons.append(
            f"{counts.faulty} of {counts.files} files are faulty: "
            f"at most {settings.max_rejected:.0%} may be"
        )
    holes: dict[str, list[str]] = collections.defaultdict(list)
    for genre, split in splits.absent(counts.tracks, settings.genres):
        holes[split].append(genre)
    reasons += [
        f"no track in the {split} split for {', '.join(genres)}" for split, genres in holes.items()
    ]
    sizes: collections.Counter[str] = collections.Counter()
    for (genre, _), number in counts.tracks.items():
        sizes[genre] += number
    small = [genre for genre in settings.genres if sizes[genre] < layout.FEWEST_TRACKS]
    if small:
        named = ", ".join(f"{genre} has {sizes[genre]}" for genre in small)
        reasons.append(f"a genre needs at least {layout.FEWEST_TRACKS} tracks, and {named}")
    return "; ".join(reasons)


def bucket(track: Examined, split_size: int, settings: IngestSettings) -> int:
    """The bucket of shards that a track belongs to, by its hash.

    Args:
      track: The track.
      split_size: Number of tracks in its split.
      settings: Ingest settings; `tracks_per_shard` is read.
    """
    return int(_mixed(track) * _buckets(split_size, settings))


def deal(
    split: str, number: int, members: Iterable[Examined], split_size: int, settings: IngestSettings
) -> Iterator[Shard]:
    """Deals a bucket's tracks out to its shards, by hash, so that every shard mixes the genres.

    Args:
      split: Name of the split.
      number: Of the bucket.
      members: The bucket's tracks, in any order.
      split_size: Number of tracks in the split.
      settings: Ingest settings; `tracks_per_shard` is read.

    Yields:
      The shards; of more shards than tracks, those that have one.
    """
    buckets = _buckets(split_size, settings)
    count = SHARDS_PER_BUCKET if buckets > 1 else -(-split_size // settings.tracks_per_shard)
    ordered = sorted(members, key=lambda track: (_mixed(track), track.track_id))
    for index in range(min(count, len(ordered))):
        yield Shard(split, number * count + index, buckets * count, tuple(ordered[index::count]))


def _buckets(split_size: int, settings: IngestSettings) -> int:
    return max(1, -(-split_size // (SHARDS_PER_BUCKET * settings.tracks_per_shard)))


def _mixed(track: Examined) -> float:
    return splits.position(track.track_id, seed=-1)
