"""Genuine GTZAN tracks through the whole pipeline."""

import numpy as np
import pytest

from components.common import releases
from serving.client import GenreClient
from serving.local_model import LocalModel
from tests.e2e.conftest import run
from tests.serving.one_answer import assert_one_answer
from tests.serving.server_process import ServerProcess


@pytest.mark.slow
def test_real_tracks_run_through(real_music, permissive, tmp_path):
    done = run(
        *("--data", str(real_music / "genres_original"), "--output", str(tmp_path / "out")),
        *("--models", "cnn,musicnn,ensemble", "--epochs", "1", "--gate", permissive),
        *("--set", "training.windows_per_track=1"),
    )
    assert done.code == 0, done.screen
    assert "47 tracks to train on, 11 for validation, 12 to test on" in done.screen
    models = tmp_path / "out" / "serving" / "genre"
    (number,) = releases.versions(str(models))
    server = ServerProcess(tmp_path / "server", ["--model-base-path", str(models)])
    try:
        track = min((real_music / "genres_original").rglob("*.wav"))
        assert_one_answer(server.wait_ready(), models / str(number), track.read_bytes(), tmp_path)
        with GenreClient(server.address) as client:
            by_client = client.classify_file(track)
        local = LocalModel(models / str(number)).classify_file(track)
        assert local.version == by_client.version == number
        assert local.genre == by_client.genre
        np.testing.assert_allclose(local.probabilities, by_client.probabilities, atol=1e-5)
    finally:
        server.stop()


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
