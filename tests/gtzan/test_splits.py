"""Splits: disjoint, complete, stable, by track, by artist and by list."""

import collections
import hashlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gtzan import layout, split_files, splits
from components.gtzan.genres import GENRES
from tests.gtzan.at_once import by_artist, random_music


def tracks(per_genre: int, genres=GENRES) -> dict[str, str]:
    return {f"{genre}.{index:05d}": genre for genre in genres for index in range(per_genre)}


def counts(assigned, genres) -> dict[tuple[str, str], int]:
    return collections.Counter((genres[track], split) for track, split in assigned.items())


@settings(deadline=None)
@given(st.integers(3, 40), st.integers(0, 10_000))
def test_every_genre_is_in_every_split_with_its_minimum(per_genre, seed):
    genres = tracks(per_genre, GENRES[:3])
    assigned = by_artist(genres, seed=seed)
    assert assigned.keys() == genres.keys()
    assert not missing(assigned, genres)
    held = counts(assigned, genres)
    for split, minimum in splits.minimum_tracks(per_genre, splits.Ratios()).items():
        assert all(held[genre, split] >= minimum for genre in GENRES[:3])


def missing(assigned, genres) -> list[tuple[str, str]]:
    return splits.absent(counts(assigned, genres), genres.values())


def by_hash_alone(genres, seed) -> set[str]:
    """Genres in which hashing leaves no split under its minimum."""
    ends = {"test": (0, 0.15), "validation": (0.85, 1), "train": (0.15, 0.85)}
    found = set()
    for genre in set(genres.values()):
        places = [splits.position(t, seed=seed) for t, g in genres.items() if g == genre]
        minimums = splits.minimum_tracks(len(places), splits.Ratios())
        if all(
            sum(low <= place < high for place in places) >= minimums[split]
            for split, (low, high) in ends.items()
        ):
            found.add(genre)
    return found


@settings(deadline=None)
@given(st.integers(5, 60), st.integers(1, 60), st.integers(0, 10_000))
def test_no_track_moves_when_others_are_added(before, added, seed):
    old, new = tracks(before, GENRES[:4]), tracks(before + added, GENRES[:4])
    first, second = by_artist(old, seed=seed), by_artist(new, seed=seed)
    settled = by_hash_alone(old, seed) & by_hash_alone(new, seed)
    assert all(first[track] == second[track] for track in old if old[track] in settled)


def test_at_the_size_of_gtzan_hashing_nearly_always_decides_and_shares_are_near_the_ratios():
    genres = tracks(100)
    assert sum(len(by_hash_alone(genres, seed)) for seed in range(20)) >= 0.98 * 20 * len(GENRES)
    shares = collections.Counter(by_artist(tracks(1000), seed=3).values())
    assert shares["test"] / 10_000 == pytest.approx(0.15, abs=0.01)
    assert shares["validation"] / 10_000 == pytest.approx(0.15, abs=0.01)


def test_the_seed_counts_and_the_order_of_tracks_and_other_genres_do_not():
    genres = tracks(20)
    turned = dict(reversed(list(genres.items())))
    assigned = by_artist(genres, seed=1)
    assert assigned == by_artist(turned, seed=1) != by_artist(genres, seed=2)
    few = by_artist(tracks(20, GENRES[:2]), seed=1)
    assert few.items() <= assigned.items()


def test_genres_of_under_three_tracks_are_reported_missing():
    genres = tracks(2, GENRES[:1])
    assert len(missing(by_artist(genres, seed=0), genres)) == 1


def sides(assigned, artists) -> dict[str, set[str]]:
    found = collections.defaultdict(set)
    for track, split in assigned.items():
        found[artists.get(track, track)].add(split)
    return found


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(4, 30), st.lists(st.integers(0, 25), min_size=120))
def test_no_artist_is_on_two_sides(seed, per_genre, numbers):
    genres = tracks(per_genre, GENRES[:4])
    # Artists play in more than one genre, and number 0 stands for none.
    artists = {
        track: f"artist {number}" for track, number in zip(genres, numbers, strict=False) if number
    }
    assigned = by_artist(genres, artists, seed=seed)
    assert assigned.keys() == genres.keys()
    assert all(len(found) == 1 for found in sides(assigned, artists).values())


def test_an_artist_is_moved_for_a_genre_that_would_lack_a_split():
    genres = tracks(9, GENRES[:1])
    artists = {track: str(index // 3) for index, track in enumerate(genres)}
    for seed in range(20):
        assert set(by_artist(genres, artists, seed=seed).values()) == set(splits.SPLITS)


def test_an_artist_keeps_its_split_when_tracks_are_added_and_swallows_no_track_of_its_name():
    artists = {track: f"{genre} {int(track[-5:]) % 37}" for track, genre in tracks(200).items()}
    old = by_artist(tracks(150), artists, seed=0)
    assert old.items() <= by_artist(tracks(200), artists, seed=0).items()
    assert splits.group_of("x", "blues.00000") != splits.group_of("blues.00000")


def test_a_track_on_two_lists_is_an_error():
    with pytest.raises(splits.SplitError, match=r"track a .*Received: train and test"):
        splits.listed({"train": ["a"], "test": ["a"]})


PUBLISHED = [
    f"{split}_{family}.txt" for split in ("train", "valid", "test") for family in ("f", "s")
]


def test_the_family_of_lists_is_chosen_by_name():
    chosen = split_files.choose_lists([*PUBLISHED, "README.md"], family="f")
    assert chosen == {"train": "train_f.txt", "validation": "valid_f.txt", "test": "test_f.txt"}
    only_family = split_files.choose_lists(["train.txt", "val.txt", "test.txt"])
    assert only_family["validation"] == "val.txt"


@pytest.mark.parametrize(
    ("names", "family", "says"),
    [
        (PUBLISHED, "", r"several families.*--split-family f.*Received: 'f', 's'"),
        (PUBLISHED, "x", r"no split list for train and .*train_x.txt.*families: 'f', 's'"),
        (["a.txt"], "", r"no split list for train and .*train\*.txt.*Received: a.txt"),
        ([], "", r"Received: no files"),
        (["train.txt", "test.txt"], "", r"no split list for validation"),
        (["train.txt", "valid.txt", "val.txt", "test.txt"], "", r"two split lists for validation"),
    ],
)
def test_unclear_lists_are_an_error_that_says_what_was_found(names, family, says):
    with pytest.raises(splits.SplitError, match=says):
        split_files.choose_lists(names, family=family, folder="lists")


def test_lists_are_read_whatever_their_line_ends():
    text = "\ufeffblues/blues.00001.wav\r\n\r\n# note\nrock/rock.00002.au\n"
    assert split_files.parse_list(text) == ["blues.00001", "rock.00002"]


def test_artists_are_read_from_two_columns_of_any_csv():
    text = 'genre,artist,track_id\nblues,"King, B.B.",blues.00001\nblues,,blues.00002\n'
    assert split_files.parse_artists(text, name="a.csv") == {"blues.00001": "King, B.B."}


def test_lists_that_macos_made_name_the_same_tracks_and_artists():
    """It decomposes letters in file names, and its spreadsheets end lines with CR."""
    composed = "track_id,artist\rpop.Café,Björk\r"
    decomposed = unicodedata.normalize("NFD", composed)
    assert len(decomposed) > len(composed)
    assert split_files.parse_artists(decomposed, name="a.csv") == {"pop.Café": "Björk"}
    for path in ("pop/Café.wav", "pop.Café.wav"):
        (listed,) = split_files.parse_list(unicodedata.normalize("NFD", path))
        assert listed == layout.track_id("pop", "Café.wav")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("track,artist\nx,y\n", r"a.csv needs .*Received: track, artist"),
        ("", r"Received: an empty file"),
        ("track_id,artist\nx,1\nx,2\n", r"track x two artists.*Received: 1 and 2"),
        ("track_id,artist\nx,\0\n", "a.csv is not a CSV file"),
        ("track_id,artist\nx," + "y" * 200_000, "a.csv is not a CSV file"),
    ],
)
def test_a_wrong_artists_file_is_an_error(text, says):
    with pytest.raises(splits.SplitError, match=says):
        split_files.parse_artists(text, name="a.csv")


@pytest.mark.parametrize("bad", [(0.0, 0.1), (0.6, 0.4), (-0.1, 0.2)])
def test_ratios_must_leave_something_for_each_split(bad):
    with pytest.raises(splits.SplitError, match="Received: validation="):
        splits.Ratios(*bad)


def test_the_published_files_split_gtzan_as_published(real_music):
    folder = real_music / "splits"
    chosen = split_files.choose_lists([path.name for path in folder.iterdir()], family="filtered")
    lists = {
        split: split_files.parse_list((folder / name).read_text()) for split, name in chosen.items()
    }
    assigned = splits.listed(lists)
    sizes = collections.Counter(assigned.values())
    assert (sizes["train"], sizes["validation"], sizes["test"]) == (443, 197, 290)
    assert assigned.keys() <= tracks(100).keys()


def test_no_artist_of_gtzan_is_on_two_sides_and_every_genre_is_on_each(real_music):
    text = (real_music / "artists.csv").read_text()
    artists = split_files.parse_artists(text, name="artists.csv")
    genres = tracks(100)
    for seed in range(5):
        assigned = by_artist(genres, artists, seed=seed)
        assert all(len(found) == 1 for found in sides(assigned, artists).values())
        assert not missing(assigned, genres)


def test_no_track_of_earlier_runs_has_moved():
    """The digest is that of the splits before tracks were split by key."""
    digest = hashlib.sha256()
    for seed in range(100):
        genres, artists = random_music(seed)
        for known in ({}, artists):
            assigned = by_artist(genres, known, seed=seed)
            digest.update(repr(sorted(assigned.items())).encode())
    expected = "b5630899b3ed5e040bacdbc4ded75412220fa3b5b0818194716c108aa5528c7c"
    assert digest.hexdigest() == expected
