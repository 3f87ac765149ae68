"""A network that has learnt nothing says so, and one that has does not."""

import numpy as np
import pytest

from components.common import remarks
from components.trainer.release import model_run
from components.trainer.settings import AugmentationSettings
from components.trainer.training.chance import chance, left_chance
from components.trainer.training.loop import train
from tests.trainer.conftest import GENRE_NAMES, coloured, described, tiny


def test_chance_is_what_the_same_guess_for_all_has():
    labels = np.array([0, 0, 0, 1])
    assert chance(labels, np.ones(2)) == 0.75
    assert chance(labels, np.array([4 / 6, 2.0])) == pytest.approx(0.5)  # rarer genres weigh more
    assert chance(np.zeros(3, int), np.ones(1)) == 1.0


@pytest.mark.parametrize(
    ("accuracies", "guessing", "tracks", "left"),
    [
        ([0.09, 0.12, 0.11], 0.1, 443, False),
        ([0.09, 0.12, 0.15], 0.1, 443, True),
        ([0.30, 0.10], 0.1, 443, True),  # what it had once, it can have again
        ([0.18], 0.1, 70, False),  # seventy tracks: luck
        ([0.55], 0.5, 10_000, True),
        ([], 0.1, 443, False),
        ([1.0], 1.0, 10, True),  # a single genre cannot be missed
    ],
)
def test_luck_is_not_learning(accuracies, guessing, tracks, left):
    assert left_chance(accuracies, chance=guessing, tracks=tracks) is left


def trained(learning_rate):
    reads = described("ann")
    settings = tiny(
        "ann",
        learning_rate=learning_rate,
        epochs=3,
        windows_per_track=4,
        augmentation=AugmentationSettings(),
    )
    tracks = coloured(reads, 32)
    return settings, train(
        "ann", tracks, None, settings=settings, feature=reads, genres=GENRE_NAMES
    )


def test_a_training_at_chance_warns_and_its_run_keeps_the_warning(tmp_path):
    settings, result = trained(learning_rate=1e-9)
    (remark,) = result.remarks
    assert remark.startswith("ann has learnt nothing: its training accuracy never left chance")
    assert "in 3 epochs, where guessing has 0.25" in remark
    model_run.save(
        str(tmp_path),
        result,
        model_name="ann",
        settings=settings,
        feature=described("ann"),
        genre_count=len(GENRE_NAMES),
    )
    assert remarks.read(str(tmp_path)) == (remark,)


def test_a_training_that_learns_says_nothing(tmp_path):
    _, result = trained(learning_rate=1e-2)
    assert result.history["accuracy"][-1] > 0.5  # where guessing has 0.25
    assert result.remarks == ()
    remarks.write(str(tmp_path / "none"), result.remarks)
    assert remarks.read(str(tmp_path / "none")) == ()
