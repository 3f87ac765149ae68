"""A network that has learnt nothing says so, and one that has does not."""

import numpy as np
import pytest

from components.trainer.settings import AugmentationSettings
from components.trainer.training.chance import remarks
from tests.trainer.conftest import coloured, described, trained


@pytest.mark.parametrize(
    ("accuracies", "shares", "tracks", "learnt"),
    [
        ([0.09, 0.12, 0.11], [1] * 10, 440, False),
        ([0.09, 0.12, 0.15], [1] * 10, 440, True),
        ([0.30, 0.10], [1] * 10, 440, True),  # what it had once, it can have again
        ([0.18], [1] * 10, 70, False),  # seventy tracks: luck
        ([0.76], [3, 1], 400, False),  # always guessing the commoner genre has 0.75
        ([0.55], [1, 1], 10_000, True),
        ([], [1] * 10, 440, False),
        ([1.0], [1], 10, True),  # a single genre cannot be missed
    ],
)
def test_luck_is_not_learning(accuracies, shares, tracks, learnt):
    labels = np.repeat(np.arange(len(shares)), np.array(shares) * tracks // sum(shares))
    assert (remarks("cnn", accuracies, labels, np.ones(len(shares))) == ()) is learnt


def test_a_rarer_genre_that_weighs_more_is_as_good_a_guess():
    labels, weights = np.repeat([0, 1], [300, 100]), np.array([4 / 6, 2.0])
    assert "where guessing has 0.50" in remarks("cnn", [0.5], labels, weights)[0]


@pytest.mark.parametrize(("learning_rate", "count"), [(1e-9, 1), (1e-2, 0)])
def test_a_training_remarks_that_it_never_left_chance(learning_rate, count):
    reads = described("ann")
    changes = {"learning_rate": learning_rate, "epochs": 3, "windows_per_track": 8}
    result = trained("ann", coloured(reads, 32), **changes, augmentation=AugmentationSettings())
    assert len(result.remarks) == count
    assert all(remark.startswith("ann has learnt nothing") for remark in result.remarks)
