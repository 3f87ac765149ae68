"""A user's own SavedModel as the frozen body of a model, from the command line to the server."""

import shutil

from tests.e2e.conftest import assert_served, run
from tests.trainer import saved_models


def test_a_network_of_one_s_own_is_trained_released_and_served(sample, permissive, tmp_path):
    body = saved_models.save("yamnet", tmp_path / "yamnet")
    done = run(
        *("--data", str(sample), "--output", str(tmp_path / "out"), "--gate", permissive),
        *("--models", "embedding", "--weights", body),
    )
    assert done.code == 0, done.screen
    # The release holds all that it needs.
    shutil.rmtree(body)
    track = min(sample.rglob("*.wav"))
    assert_served(tmp_path / "out" / "serving" / "genre", track, tmp_path)
