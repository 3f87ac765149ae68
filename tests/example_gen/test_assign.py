"""Splits by Beam are those of `at_once.by_artist`, which sees all tracks at once."""

import pytest

from components.example_gen.assign import AssignSplits
from components.example_gen.settings import SplitSettings
from components.example_gen.tracks import Examined
from components.gtzan import splits
from tests.example_gen import deciding
from tests.gtzan.at_once import by_artist, random_music


@pytest.mark.parametrize(
    ("seed", "ratios"),
    enumerate([splits.Ratios(), splits.Ratios(0.3, 0.3), splits.Ratios(0.02, 0.1)]),
)
@pytest.mark.parametrize("with_artists", [True, False])
def test_the_steps_give_the_splits_of_all_tracks_at_once(seed, ratios, with_artists):
    genres, artists = random_music(seed)
    artists = artists if with_artists else {}
    examined = [
        Examined(f"{track}.wav", track, genre, label=artists.get(track, ""))
        for track, genre in genres.items()
    ]
    faulty = Examined("faulty.wav", "faulty", "0", fault="empty")
    settings = SplitSettings("artist", seed=seed, ratios=ratios, artists="a.csv")
    placed = {
        track.track_id: track.split
        for track in deciding.through([*examined, faulty], AssignSplits(settings=settings))
    }
    assert placed.pop("faulty") == ""
    assert placed == by_artist(genres, artists, seed=seed, ratios=ratios)
