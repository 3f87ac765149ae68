"""A network that has learnt nothing says so, and one that has does not."""

import numpy as np
import pytest

from components.trainer.settings import AugmentationSettings
from components.trainer.training.chance import chance, left_chance
from tests.trainer.conftest import coloured, described, trained


def test_chance_is_the_accuracy_of_one_guess_for_all():
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


@pytest.mark.parametrize(("learning_rate", "remarks"), [(1e-9, 1), (1e-2, 0)])
def test_a_training_remarks_that_it_never_left_chance(learning_rate, remarks):
    reads = described("ann")
    changes = {"learning_rate": learning_rate, "epochs": 3, "windows_per_track": 8}
    result = trained("ann", coloured(reads, 32), **changes, augmentation=AugmentationSettings())
    assert len(result.remarks) == remarks
    assert all(remark.startswith("ann has learnt nothing") for remark in result.remarks)
