"""Genuine GTZAN tracks through the whole pipeline."""

import pytest

from tests.e2e.conftest import assert_served, run


@pytest.mark.slow
def test_real_tracks_run_through(real_music, permissive, tmp_path):
    done = run(
        *("--data", str(real_music / "genres_original"), "--output", str(tmp_path / "out")),
        *("--models", "musicnn", "--copies", "1", "--gate", permissive),
        *("--set", "training.windows_per_track=1", "--set", "audio.clip_seconds=10"),
    )
    assert done.code == 0, done.screen
    assert "47 tracks to train on, 11 for validation, 12 to test on" in done.screen
    track = min((real_music / "genres_original").rglob("*.wav"))
    assert_served(tmp_path / "out" / "serving" / "genre", track, tmp_path)


def test_a_split_that_leaves_a_genre_without_tracks_stops_with_the_table(real_music, tmp_path):
    # Seven tracks a genre: all of some genres' are by one artist.
    failed = run(
        *("--data", str(real_music / "genres_original"), "--output", str(tmp_path / "out")),
        *("--split", "artist", "--artists", str(real_music / "artists.csv")),
    )
    assert failed.code == 1
    assert "Traceback" not in failed.screen
    assert "no track in the train split for blues" in failed.screen
    assert (tmp_path / "out" / "ingest.html").is_file()
