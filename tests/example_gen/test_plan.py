"""The decision on small facts: who is left out and who goes where, without sound or Beam."""

import dataclasses

import pytest

from components.example_gen import plan, tracks
from components.example_gen.plan import Plan, SplitSources
from components.example_gen.settings import IngestSettings, SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan.genres import GENRES
from components.gtzan.splits import SplitError


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


def decide(examined, *, sources=None, **changes) -> Plan:
    return plan.make_plan(examined, IngestSettings(**changes), sources or SplitSources())


def test_every_good_track_is_in_exactly_one_split():
    examined = usable()
    made = decide(examined)
    assert not made.failure
    assert sorted(track.track_id for track in made.accepted) == sorted(
        track.track_id for track in examined
    )


def test_a_duplicate_is_kept_once_the_first_by_path_whatever_the_order():
    repeat = Examined("rock/rock.99999.wav", "rock.99999", "rock", content="blues0")
    for examined in ([repeat, *usable()], [*usable(), repeat]):
        made = decide(examined)
        assert [(one.path, one.fault, one.detail) for one in made.rejected] == [
            ("rock/rock.99999.wav", tracks.DUPLICATE, "duplicate of blues/blues.00000.wav")
        ]


def test_two_files_of_one_track_are_kept_once():
    other = Examined("blues/blues.00000.mp3", "blues.00000", "blues", content="coded")
    made = decide([*usable(), other])
    assert [one.path for one in made.rejected] == ["blues/blues.00000.wav"]
    assert made.rejected[0].fault == tracks.SAME_ID


def faulty(count: int) -> list[Examined]:
    return [Examined(f"pop/bad{i}.wav", f"pop.bad{i}", "pop", "not audio") for i in range(count)]


def test_faults_up_to_the_limit_pass_and_more_stop_the_run():
    assert not decide([*usable(), *faulty(5)]).failure  # 5 of 105
    assert decide([*usable(), *faulty(6)]).failure.startswith("6 of 106 files are faulty")
    assert not decide([*usable(), *faulty(50)], max_rejected=0.5).failure
    assert decide([*usable(), *faulty(1)], max_rejected=0.0).failure


def test_duplicates_are_no_fault():
    repeats = [
        dataclasses.replace(one, path=f"{one.genre}/copy of {one.track_id}.wav")
        for one in usable(9)
    ]
    made = decide([*usable(), *repeats])
    assert not made.failure and len(made.rejected) == 90


def test_a_genre_without_tracks_in_a_split_stops_the_run():
    made = decide([one for one in usable() if one.genre != "jazz" or one.track_id < "jazz.00002"])
    assert "for jazz" in made.failure and plan.shards(made, IngestSettings()) == []


def test_listed_tracks_go_where_the_lists_say_and_others_are_set_aside():
    examined = usable(4)
    lists = {
        split: tuple(f"{genre}.{index:05d}" for genre in GENRES)
        for index, split in enumerate(("train", "validation", "test"))
    }
    lists["train"] += ("rock.77777",)
    # The listed track is kept although an unlisted duplicate comes before it.
    examined.append(Examined("blues/a.wav", "blues.a", "blues", content="blues0"))
    made = decide(
        examined,
        split=SplitSettings(method="listed", lists="somewhere"),
        sources=SplitSources(lists=lists),
    )
    assert not made.failure and made.unmatched == ("rock.77777",)
    assert [one.track_id for one in made.splits["test"]] == [f"{g}.00002" for g in sorted(GENRES)]
    assert {one.fault for one in made.rejected} == {tracks.NOT_LISTED}
    assert len(made.rejected) == len(GENRES) + 1


def test_shards_hold_every_track_once_mixed_and_within_their_size():
    settings = IngestSettings(tracks_per_shard=16)
    made = decide(usable(40))
    dealt = plan.shards(made, settings)
    members = [track.track_id for shard in dealt for track in shard.tracks]
    assert sorted(members) == sorted(track.track_id for track in made.accepted)
    assert all(1 <= len(shard.tracks) <= 16 for shard in dealt)
    full = [shard for shard in dealt if len(shard.tracks) > 10]
    assert all(len({track.genre for track in shard.tracks}) >= 4 for shard in full)


def test_a_plan_and_settings_survive_json():
    made = decide([*usable(), *faulty(2)])
    assert Plan.from_json(made.to_json()) == made
    settings = IngestSettings(split=SplitSettings("artist", seed=4, artists="a.csv"), genres=("a",))
    assert IngestSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("bad", [{"method": "random"}, {"method": "listed"}, {"method": "artist"}])
def test_split_settings_that_cannot_work_are_refused_at_once(bad):
    with pytest.raises(SplitError, match="Received: '"):
        SplitSettings(**bad)


@pytest.mark.parametrize("bad", [{"max_rejected": 1.5}, {"tracks_per_shard": 0}, {"genres": ()}])
def test_ingest_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="Received: "):
        IngestSettings(**bad)
