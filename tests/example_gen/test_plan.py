"""The decision on small facts: who is left out and who goes where, without sound."""

import collections
import dataclasses
import json

import pytest

from components.example_gen import plan, tracks
from components.example_gen.plan import Counts, Shard
from components.example_gen.repeats import keep_first
from components.example_gen.settings import IngestSettings, SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from components.gtzan.genres import GENRES
from components.gtzan.splits import SplitError
from tests.example_gen import deciding


def usable(per_genre: int = 10) -> list[Examined]:
    return [
        Examined(
            path=f"{genre}/{genre}.{index:05d}.wav",
            track_id=f"{genre}.{index:05d}",
            genre=genre,
            content=f"{genre}{index}",
        )
        for genre in GENRES
        for index in range(per_genre)
    ]


def test_every_good_track_is_in_exactly_one_split():
    examined = usable()
    made = deciding.run(examined)
    assert not made.failure
    assert sorted(track.track_id for track in made.accepted) == sorted(
        track.track_id for track in examined
    )


def test_a_duplicate_is_kept_once_the_first_by_path_whatever_the_order():
    repeat = Examined("rock/rock.99999.wav", "rock.99999", "rock", content="blues0")
    for examined in ([repeat, *usable()], [*usable(), repeat]):
        made = deciding.run(examined)
        assert [(one.path, one.fault, one.detail) for one in made.left_out] == [
            ("rock/rock.99999.wav", tracks.DUPLICATE, "duplicate of blues/blues.00000.wav")
        ]


def test_two_files_of_one_track_are_kept_once():
    other = Examined("blues/blues.00000.mp3", "blues.00000", "blues", content="coded")
    made = deciding.run([*usable(), other])
    assert [one.path for one in made.left_out] == ["blues/blues.00000.wav"]
    assert made.left_out[0].fault == tracks.SAME_ID


def faulty(count: int) -> list[Examined]:
    return [Examined(f"pop/bad{i}.wav", f"pop.bad{i}", "pop", "not audio") for i in range(count)]


def test_faults_up_to_the_limit_pass_and_more_stop_the_run():
    def failure(faulty: int, **changes) -> str:
        by_split = {(genre, split): 5 for genre in GENRES for split in splits.SPLITS}
        counts = Counts(by_split, {"not audio": faulty, tracks.DUPLICATE: 30})
        return plan.failure(counts, IngestSettings(GENRES, **changes))

    assert not failure(9)  # of 150 + 30 + 9
    assert failure(10).startswith("10 of 190 files are faulty: at most 5% may be")
    assert not failure(150, max_rejected=0.5)
    assert failure(1, max_rejected=0.0)


def test_duplicates_do_not_count_as_faults():
    repeats = [
        dataclasses.replace(one, path=f"{one.genre}/copy of {one.track_id}.wav")
        for one in usable(9)
    ]
    made = deciding.run([*usable(), *repeats])
    assert not made.failure and len(made.left_out) == 90


def test_a_genre_without_tracks_in_a_split_stops_the_run():
    made = deciding.run(
        [one for one in usable() if one.genre != "jazz" or one.track_id < "jazz.00002"]
    )
    assert "for jazz" in made.failure


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
    assert not made.failure and made.unmatched == ["rock.77777"]
    assert made.counts.unmatched == 1 and made.facts["unmatched"] == ["rock.77777"]
    assert [one.track_id for one in made.splits["test"]] == [f"{g}.00002" for g in sorted(GENRES)]
    assert {one.fault for one in made.left_out} == {tracks.NOT_LISTED}
    assert len(made.left_out) == len(GENRES) + 1


def test_a_file_that_loses_its_id_is_the_first_of_its_sound_all_the_same():
    """Each step goes by its own key; before, the copy was kept."""
    facts = [
        Examined("pop/a.mp3", "pop.a", "pop", content="one"),
        Examined("pop/a.wav", "pop.a", "pop", content="two"),
        Examined("pop/b.wav", "pop.b", "pop", content="two"),
    ]
    made = deciding.run([*usable(), *facts])
    assert [(one.path, one.detail) for one in made.left_out] == [
        ("pop/a.wav", "same track id as pop/a.mp3"),
        ("pop/b.wav", "duplicate of pop/a.wav"),
    ]
    unique, left_out = keep_first([*usable(), *facts])
    assert left_out == made.left_out
    assert {one.path for one in unique} == {one.path for one in made.accepted}


def test_the_summary_names_the_first_of_each_reason_and_counts_all():
    some = [Examined(f"pop/b{i:03d}.wav", f"pop.b{i}", "pop", "empty") for i in range(600)]
    made = deciding.run([*usable(), *faulty(3), *some])
    assert made.counts.left_out == {"not audio": 3, "empty": 600}
    assert made.counts.faulty == 603 and made.counts.files == 703
    named = [row["path"] for row in made.facts["left_out"]]
    assert sorted(named) == sorted(
        [*(f"pop/bad{i}.wav" for i in range(3)), *(f"pop/b{i:03d}.wav" for i in range(500))]
    )


def deal(members: list[Examined], split_size: int, settings: IngestSettings) -> list[Shard]:
    """All shards of a split."""
    buckets = collections.defaultdict(list)
    for track in members:
        buckets[plan.bucket(track, split_size, settings)].append(track)
    return [
        shard
        for number, inside in buckets.items()
        for shard in plan.deal("train", number, inside, split_size, settings)
    ]


def test_shards_hold_every_track_once_mixed_and_within_their_size():
    settings = IngestSettings(GENRES, tracks_per_shard=16)
    members = usable(40)
    shards = deal(members, 400, settings)
    inside = [track.track_id for shard in shards for track in shard.tracks]
    assert sorted(inside) == sorted(track.track_id for track in members)
    assert [(shard.index, shard.count) for shard in shards] == [(index, 25) for index in range(25)]
    assert all(len(shard.tracks) == 16 for shard in shards)
    assert all(len({track.genre for track in shard.tracks}) >= 4 for shard in shards)
    assert deal(members[::-1], 400, settings) == shards


def test_a_large_split_has_buckets_of_shards_of_about_equal_size():
    settings = IngestSettings(GENRES, tracks_per_shard=4)
    members = usable(100)
    shards = deal(members, 1000, settings)
    assert {shard.count for shard in shards} == {8 * plan.SHARDS_PER_BUCKET}
    assert sorted(shard.index for shard in shards) == list(range(8 * plan.SHARDS_PER_BUCKET))
    inside = [track.track_id for shard in shards for track in shard.tracks]
    assert sorted(inside) == sorted(track.track_id for track in members)
    assert max(len(shard.tracks) for shard in shards) <= 6


def test_more_shards_than_tracks_in_a_bucket_leave_no_empty_shard():
    settings = IngestSettings(GENRES, tracks_per_shard=1)
    shards = deal(usable(20), 200, settings)
    assert all(shard.tracks for shard in shards)
    assert sum(len(shard.tracks) for shard in shards) == 200


def test_counts_and_settings_survive_json():
    made = deciding.run([*usable(), *faulty(2)])
    assert Counts.from_values(json.loads(json.dumps(made.counts.to_values()))) == made.counts
    settings = IngestSettings(split=SplitSettings("artist", seed=4, artists="a.csv"), genres=("a",))
    assert IngestSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("bad", [{"method": "random"}, {"method": "listed"}, {"method": "artist"}])
def test_split_settings_that_cannot_work_are_refused_at_once(bad):
    with pytest.raises(SplitError, match="Received: '"):
        SplitSettings(**bad)


@pytest.mark.parametrize("bad", [{"max_rejected": 1.5}, {"tracks_per_shard": 0}, {"genres": ()}])
def test_ingest_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        IngestSettings(**{"genres": GENRES, **bad})
