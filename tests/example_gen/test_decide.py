"""The decision on made-up facts: who is left out and who goes where, without sound."""

import collections
import random

import apache_beam as beam
import pytest

from components.example_gen import counts, tracks
from components.example_gen.counts import Counts
from components.example_gen.ingest import SHARDS_PER_BUCKET, DealShards, Shard
from components.example_gen.repeats import keep_first
from components.example_gen.settings import IngestSettings, SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from components.gtzan.genres import GENRES
from components.gtzan.splits import SplitError
from tests.example_gen import deciding


def usable(per_genre: int = 10, split: str = "") -> list[Examined]:
    return [
        Examined(
            path=f"{genre}/{genre}.{index:05d}.wav",
            track_id=f"{genre}.{index:05d}",
            genre=genre,
            content=f"{genre}{index}",
            split=split,
        )
        for genre in GENRES
        for index in range(per_genre)
    ]


FAULTY = [Examined(f"pop/bad{i}.wav", f"pop.bad{i}", "pop", "not audio") for i in range(3)]
EMPTY = [Examined(f"pop/e{i:03d}.wav", f"pop.e{i}", "pop", "empty") for i in range(600)]
REPEATS = [
    Examined("rock/rock.99999.wav", "rock.99999", "rock", content="blues0"),
    Examined("blues/blues.00001.mp3", "blues.00001", "blues", content="coded"),
    # The second loses its id to the first, and is the first of its sound all the same.
    Examined("pop/a.mp3", "pop.a", "pop", content="one"),
    Examined("pop/a.wav", "pop.a", "pop", content="two"),
    Examined("pop/b.wav", "pop.b", "pop", content="two"),
]


@pytest.fixture(scope="module")
def decided() -> deciding.Decided:
    return deciding.run([*usable(), *FAULTY, *EMPTY, *REPEATS])


def test_every_good_track_is_in_exactly_one_split(decided):
    ids = collections.Counter(track.track_id for track in decided.accepted)
    assert ids == collections.Counter({*(track.track_id for track in usable()), "pop.a"})
    assert all(track.split == s for s, members in decided.splits.items() for track in members)


def test_of_equal_sound_and_of_equal_ids_the_first_by_path_is_kept(decided):
    repeats = {
        track.path: (track.fault, track.detail.split()[-1])
        for track in decided.left_out
        if track.fault in tracks.NO_FAULT
    }
    assert repeats == {
        "blues/blues.00001.wav": (tracks.SAME_ID, "blues/blues.00001.mp3"),
        "pop/a.wav": (tracks.SAME_ID, "pop/a.mp3"),
        "pop/b.wav": (tracks.DUPLICATE, "pop/a.wav"),
        "rock/rock.99999.wav": (tracks.DUPLICATE, "blues/blues.00000.wav"),
    }


def test_the_order_of_the_files_does_not_matter_nor_whether_they_are_a_list(decided):
    facts = [*usable(), *FAULTY, *EMPTY, *REPEATS]
    random.Random(0).shuffle(facts)
    again = deciding.run(facts)
    assert (again.splits, again.left_out) == (decided.splits, decided.left_out)
    assert [track for track in keep_first(facts) if track.fault] == decided.left_out


def test_the_report_names_the_first_of_each_reason_and_counts_all(decided):
    assert decided.counts.left_out["not audio"] == 3 and decided.counts.left_out["empty"] == 600
    assert decided.report["faulty"] == 603 and decided.report["files"] == 708
    named = [row["path"] for row in decided.report["rejected"] if row["fault"]]
    assert named == sorted(track.path for track in [*FAULTY, *EMPTY[:500]])
    assert "603 of 708 files are faulty" in decided.report["failure"]


EVERYWHERE = {(genre, split): 5 for genre in GENRES for split in splits.SPLITS}


@pytest.mark.parametrize(
    ("faulty", "limit", "stops"),
    [
        (9, None, False),
        (10, None, True),
        (150, 0.5, False),
        (1, 0.0, True),
    ],
)
def test_faults_up_to_the_limit_pass_and_more_stop_the_run(faulty, limit, stops):
    known = Counts(EVERYWHERE, {"not audio": faulty, tracks.DUPLICATE: 30})
    failure = counts.failure(known, IngestSettings(GENRES, max_rejected=limit))
    assert bool(failure) == stops
    assert f"{faulty} of {180 + faulty} files are faulty" in failure or not stops


def test_three_faults_stop_no_small_collection():
    small = dict.fromkeys(EVERYWHERE, 1)
    for faulty, stops in ((3, False), (4, True)):
        failure = counts.failure(Counts(small, {"not audio": faulty}), IngestSettings(GENRES))
        assert ("--max-rejected" in failure) == stops


def test_a_genre_without_tracks_in_a_split_stops_the_run():
    known = {key: number for key, number in EVERYWHERE.items() if key != ("jazz", "test")}
    assert "for jazz" in counts.failure(Counts(known, {}), IngestSettings(GENRES))


def test_listed_tracks_go_where_the_lists_say_and_others_are_set_aside():
    examined = usable(4)
    lists = {
        split: tuple(f"{genre}.{index:05d}" for genre in GENRES)
        for index, split in enumerate(("train", "validation", "test"))
    }
    lists["train"] += ("rock.77777",)
    # The listed track is kept although an unlisted duplicate comes before it.
    examined.append(Examined("blues/a.wav", "blues.a", "blues", content="blues0"))
    made = deciding.run(
        examined,
        split=SplitSettings(method="listed", lists="somewhere"),
        labels=splits.listed(lists),
    )
    assert not made.counts.failure
    assert made.unmatched == made.report["unmatched_tracks"] == ["rock.77777"]
    assert made.counts.unmatched == 1
    assert [one.track_id for one in made.splits["test"]] == [f"{g}.00002" for g in sorted(GENRES)]
    assert {one.fault for one in made.left_out} == {tracks.NOT_LISTED}
    assert len(made.left_out) == len(GENRES) + 1


class Deal(beam.PTransform):
    """Deals tracks of one split out to shards."""

    def __init__(self, tracks: int, tracks_per_shard: int):
        super().__init__()
        self.counts = Counts({("pop", "train"): tracks}, {})
        self.settings = IngestSettings(GENRES, tracks_per_shard=tracks_per_shard)

    def expand(self, placed):
        known = placed.pipeline | "Counts" >> beam.Create([self.counts])
        return placed | DealShards(known, settings=self.settings)


@pytest.mark.parametrize(
    ("per_genre", "tracks_per_shard", "shards"),
    [(40, 16, 25), (100, 4, 8 * SHARDS_PER_BUCKET)],  # one bucket, and eight of them
)
def test_shards_hold_every_track_once_mixed_and_of_about_equal_size(
    per_genre, tracks_per_shard, shards
):
    members = usable(per_genre, "train")
    deal = Deal(len(members), tracks_per_shard)
    dealt: list[Shard] = deciding.through(members, deal)
    inside = [track.track_id for shard in dealt for track in shard.tracks]
    assert sorted(inside) == sorted(track.track_id for track in members)
    assert sorted(shard.index for shard in dealt) == list(range(shards))
    assert {shard.count for shard in dealt} == {shards}
    assert max(len(shard.tracks) for shard in dealt) <= 1.5 * tracks_per_shard
    assert all(len({track.genre for track in shard.tracks}) >= 2 for shard in dealt)
    again = deciding.through(members[::-1], deal)
    assert sorted(again, key=lambda shard: shard.index) == sorted(
        dealt, key=lambda shard: shard.index
    )


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (SplitSettings, {"method": "random"}),
        (SplitSettings, {"method": "listed"}),
        (SplitSettings, {"method": "artist"}),
        (IngestSettings, {"genres": GENRES, "max_rejected": 1.5}),
        (IngestSettings, {"genres": GENRES, "tracks_per_shard": 0}),
        (IngestSettings, {"genres": ()}),
        (IngestSettings, {"genres": GENRES, "duplicates": "keep"}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, values):
    with pytest.raises((ValueError, SplitError), match=[*values][-1]):
        settings(**values)
