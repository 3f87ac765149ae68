"""Splits by Beam are those of `at_once.by_artist`, which sees all tracks at once."""

import heapq
import random
from collections import defaultdict

import apache_beam as beam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen import assign
from components.example_gen.settings import SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from tests.example_gen import deciding
from tests.example_gen.conftest import BEAM_ARGS
from tests.gtzan.at_once import by_artist

RATIOS = (splits.Ratios(), splits.Ratios(0.3, 0.3), splits.Ratios(0.02, 0.1))


def music(seed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Tracks of up to six genres of unequal size, and artists who play in several of them."""
    draw = random.Random(seed)
    genres = {
        f"{genre}.{number:05d}": str(genre)
        for genre in range(draw.randint(1, 6))
        for number in range(draw.choice((1, 2, 3, 5, 9, 20, 60)))
    }
    artists = {track: str(draw.randint(0, 25)) for track in genres if draw.random() < 0.7}
    return genres, artists


def split_settings(seed: int, ratios: splits.Ratios) -> SplitSettings:
    return SplitSettings("artist", seed=seed, ratios=ratios, artists="a.csv")


def candidates(genres, artists, settings: SplitSettings):
    """What `AssignSplits` gathers by move, its counts, and each track's group."""
    group_of = {track: splits.group_of(track, artists.get(track, "")) for track in genres}
    held = defaultdict(list)
    for track, genre in genres.items():
        held[group_of[track]].append({genre: 1})
    groups = [(group, assign._add_up(members)) for group, members in held.items()]
    sums: dict = defaultdict(int)
    for group in groups:
        for key, number in assign._counts_of(*group, settings):
            sums[key] += number
    counts = assign._to_counts(sums, settings)
    by_move = defaultdict(list)
    for group in groups:
        for move, candidate in assign._candidates(group, counts, settings):
            by_move[move].append(candidate)
    return by_move, counts, group_of


def step_by_step(genres, artists, settings: SplitSettings, most: int) -> dict[str, str]:
    """The steps of `AssignSplits` on lists."""
    by_move, counts, group_of = candidates(genres, artists, settings)
    nearest = [
        candidate
        for some in by_move.values()
        for candidate in heapq.nsmallest(most, some, key=assign._by_distance)
    ]
    assert len(by_move) <= 6 * len(counts.short)
    moved = assign._fill_up(nearest, counts, settings)
    return {
        track: moved.get(group) or assign._hashed(group, settings)
        for track, group in group_of.items()
    }


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(RATIOS), st.booleans())
def test_the_steps_give_the_splits_of_all_tracks_at_once(seed, ratios, with_artists):
    genres, artists = music(seed)
    artists = artists if with_artists else {}
    expected = by_artist(genres, artists, seed=seed, ratios=ratios)
    settings = split_settings(seed, ratios)
    assert step_by_step(genres, artists, settings, assign.MOST_CANDIDATES) == expected


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(RATIOS))
def test_of_a_genre_s_tracks_no_more_are_gathered_than_move(seed, ratios):
    genres, _ = music(seed)
    settings = split_settings(seed, ratios)
    expected = by_artist(genres, {}, seed=seed, ratios=ratios)
    moved = sum(
        split != splits.by_hash(splits.group_of(track), seed=seed, ratios=ratios)
        for track, split in expected.items()
    )
    assert step_by_step(genres, {}, settings, most=max(1, moved)) == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_the_transform_gives_the_splits_of_all_tracks_at_once(seed):
    genres, artists = music(seed)
    artists = artists if seed % 2 else {}
    labelled = [
        Examined(f"{track}.wav", track, genre, label=artists.get(track, ""))
        for track, genre in genres.items()
    ]
    faulty = Examined("faulty.wav", "faulty", "0", fault="empty")
    deciding.clear()
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        (
            pipeline
            | beam.Create([*labelled, faulty])
            | assign.AssignSplits(settings=split_settings(seed, RATIOS[0]))
            | beam.Map(deciding.collect, "placed")
        )
    placed = {track.track_id: track.split for track in deciding.collected("placed")}
    assert placed.pop("faulty") == ""
    assert placed == by_artist(genres, artists, seed=seed)


def test_a_track_of_a_genre_with_tracks_enough_is_not_gathered():
    genres = {f"rock.{number}": "rock" for number in range(300)}
    assert not candidates(genres, {}, split_settings(0, RATIOS[0]))[0]
