"""From what was found in the files to what is written: who is left out, and who goes where.

Pure functions on small facts, so that the whole decision is tested without Beam or sound.
"""

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping

from components.example_gen import tracks
from components.example_gen.settings import IngestSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits


@dataclasses.dataclass(frozen=True)
class SplitSources:
    """What the files that a split method reads say.

    Attributes:
      lists: Track ids by split, for `listed`.
      artists: Artist by track id, for `artist`.
    """

    lists: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    artists: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file to be.

    Attributes:
      split: The split it belongs to.
      index: Its number in the split.
      count: Number of the split's shards.
      tracks: What goes in, in order.
    """

    split: str
    index: int
    count: int
    tracks: tuple[Examined, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The decision on every file.

    Attributes:
      splits: Accepted tracks by split, by id.
      rejected: The others, with fault and detail, by path.
      unmatched: Listed tracks that are not in the data.
      failure: Why nothing may be written, or "".
    """

    splits: Mapping[str, tuple[Examined, ...]]
    rejected: tuple[Examined, ...]
    unmatched: tuple[str, ...]
    failure: str

    def to_json(self) -> bytes:
        """Serialises the plan."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Plan":
        """Restores what `to_json` wrote."""
        values = json.loads(data)
        return cls(
            splits={
                split: tuple(Examined(**track) for track in members)
                for split, members in values["splits"].items()
            },
            rejected=tuple(Examined(**track) for track in values["rejected"]),
            unmatched=tuple(values["unmatched"]),
            failure=values["failure"],
        )

    @property
    def accepted(self) -> tuple[Examined, ...]:
        """All accepted tracks."""
        return tuple(track for members in self.splits.values() for track in members)

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of tracks by genre and split."""
        return collections.Counter(
            (track.genre, split) for split, members in self.splits.items() for track in members
        )


def make_plan(
    examined: Iterable[Examined], settings: IngestSettings, sources: SplitSources
) -> Plan:
    """Decides on every file.

    The order of `examined` does not matter. Of exact duplicates, and of files that give one track
    id, the first by path is kept. With `listed`, tracks on no list are set aside before that.

    Args:
      examined: Every audio file.
      settings: What the ingest is told.
      sources: What the split method reads.

    Returns:
      The plan; its `failure` says where too many files are faulty or a genre is missing in a split.
    """
    ordered = sorted(examined, key=lambda track: track.path)
    faulty = [track for track in ordered if track.fault]
    usable = [track for track in ordered if not track.fault]
    left_out: list[Examined] = []
    if settings.split.method == "listed":
        on_lists = {track for members in sources.lists.values() for track in members}
        left_out += [
            _leave_out(track, tracks.NOT_LISTED, "on none of the split lists")
            for track in usable
            if track.track_id not in on_lists
        ]
        usable = [track for track in usable if track.track_id in on_lists]
    kept, repeated = keep_first(usable)
    assigned, unmatched = _assign(kept, settings, sources)
    plan = Plan(
        splits={
            split: tuple(
                sorted(
                    (track for track in kept if assigned[track.track_id] == split),
                    key=lambda track: track.track_id,
                )
            )
            for split in splits.SPLITS
        },
        rejected=tuple(sorted([*faulty, *left_out, *repeated], key=lambda track: track.path)),
        unmatched=tuple(unmatched),
        failure="",
    )
    return dataclasses.replace(plan, failure=_failure(plan, len(ordered), settings))


def shards(plan: Plan, settings: IngestSettings) -> list[Shard]:
    """Deals the tracks out to files: mixed by hash, so that no file holds one genre only.

    Args:
      plan: A plan without a failure; one with a failure has no shards.
      settings: Says how many tracks fit in a file.
    """
    if plan.failure:
        return []
    dealt = []
    for split, members in plan.splits.items():
        count = -(-len(members) // settings.tracks_per_shard)
        mixed = sorted(members, key=lambda track: splits.position(track.track_id, seed=-1))
        dealt += [Shard(split, index, count, tuple(mixed[index::count])) for index in range(count)]
    return dealt


def keep_first(ordered: list[Examined]) -> tuple[list[Examined], list[Examined]]:
    """Parts tracks into those kept and the repeats of one of them.

    Args:
      ordered: Tracks without a fault; of repeats the first is kept.
    """
    kept: list[Examined] = []
    repeated: list[Examined] = []
    by_content: dict[str, str] = {}
    by_id: dict[str, str] = {}
    for track in ordered:
        if track.content in by_content:
            detail = f"duplicate of {by_content[track.content]}"
            repeated.append(_leave_out(track, tracks.DUPLICATE, detail))
        elif track.track_id in by_id:
            detail = f"same track id as {by_id[track.track_id]}"
            repeated.append(_leave_out(track, tracks.SAME_ID, detail))
        else:
            by_content[track.content] = by_id[track.track_id] = track.path
            kept.append(track)
    return kept, repeated


def _assign(
    kept: list[Examined], settings: IngestSettings, sources: SplitSources
) -> tuple[dict[str, str], list[str]]:
    genres = {track.track_id: track.genre for track in kept}
    how = settings.split
    if how.method == "listed":
        return splits.listed(genres, sources.lists)
    artists = sources.artists if how.method == "artist" else {}
    return splits.by_artist(genres, artists, seed=how.seed, ratios=how.ratios), []


def _failure(plan: Plan, files: int, settings: IngestSettings) -> str:
    faults = sum(track.fault not in tracks.NO_FAULT for track in plan.rejected)
    reasons = []
    if faults > settings.max_rejected * files:
        reasons.append(
            f"{faults} of {files} files are faulty: at most {settings.max_rejected:.0%} may be"
        )
    holes: dict[str, list[str]] = collections.defaultdict(list)
    for genre, split in splits.absent(plan.counts(), settings.genres):
        holes[split].append(genre)
    reasons += [
        f"no track in the {split} split for {', '.join(genres)}" for split, genres in holes.items()
    ]
    return "; ".join(reasons)


def _leave_out(track: Examined, reason: str, detail: str) -> Examined:
    return dataclasses.replace(track, fault=reason, detail=detail)
