"""What is known of all files in numbers, and whether their records may be written."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping

import apache_beam as beam

from components.common import storage
from components.example_gen import tracks
from components.example_gen.decide import Decided
from components.example_gen.duplicates import NearDuplicate
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import layout, splits


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


@beam.ptransform_fn
def Count(  # noqa: N802 - a PTransform is named as a class
    decided: Decided, *, settings: IngestSettings, output: str
) -> beam.PCollection[Counts]:
    """Counts what `Decide` decided, and judges whether records may be written; one element.

    Args:
      decided: Result of `Decide`.
      settings: Ingest settings.
      output: Where the records will go; none are written if the disk there has no room.
    """
    return (
        (
            decided.tracks | "CountTracks" >> beam.FlatMap(_count_track),
            decided.pairs | "CountPairs" >> beam.FlatMap(_count_pair),
            decided.unmatched | "CountUnmatched" >> beam.Map(lambda _: (("unmatched",), 1)),
        )
        | "All" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
        | "Sums" >> beam.combiners.ToDict()
        | "Counts" >> beam.Map(_to_counts)
        | "Judge" >> beam.Map(_judge, settings, output)
    )


def failure(counts: Counts, settings: IngestSettings) -> str:
    """Why nothing may be written, or "": too many faulty files, or a split that lacks a genre."""
    reasons = []
    most = settings.most_faulty(counts.files)
    if counts.faulty > most:
        reasons.append(
            f"{counts.faulty} of {counts.files} files are faulty, {most} may be: mend or remove "
            "them, or allow a larger share with --max-rejected"
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


def _count_track(track: Examined) -> Iterator[tuple[tuple[str, ...], int]]:
    if track.fault:
        yield ("left_out", track.fault), 1
        return
    yield ("tracks", track.genre, track.split), 1
    yield ("audio_bytes",), track.audio_bytes
    yield ("rates", str(track.source_sample_rate_hz)), 1


def _count_pair(pair: NearDuplicate) -> Iterator[tuple[tuple[str, ...], int]]:
    yield ("near_duplicates",), 1
    if pair.across_splits:
        yield ("leaks",), 1


def _to_counts(sums: dict[tuple[str, ...], int]) -> Counts:
    return Counts(
        tracks={(key[1], key[2]): number for key, number in sums.items() if key[0] == "tracks"},
        left_out={key[1]: number for key, number in sums.items() if key[0] == "left_out"},
        sample_rates_hz={int(key[1]): number for key, number in sums.items() if key[0] == "rates"},
        audio_bytes=sums.get(("audio_bytes",), 0),
        near_duplicates=sums.get(("near_duplicates",), 0),
        leaks=sums.get(("leaks",), 0),
        unmatched=sums.get(("unmatched",), 0),
    )


def _judge(counts: Counts, settings: IngestSettings, output: str) -> Counts:
    reason = failure(counts, settings)
    shortage = storage.shortage(output, counts.audio_bytes)
    if shortage and not reason:
        reason = f"{shortage} for the records of {counts.accepted} tracks"
    return dataclasses.replace(counts, failure=reason)
