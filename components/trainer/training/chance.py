"""Tells whether a network has learnt anything at all."""

import math
from collections.abc import Sequence

import numpy as np
from absl import logging

# Chance is left behind with this share of what lies between it and perfection.
_LEAST_GAIN = 0.05
# Or, where tracks are few, with this many standard errors over tracks.
_STANDARD_ERRORS = 3.0


def chance(labels: np.ndarray, genre_weights: np.ndarray) -> float:
    """The best weighted accuracy that always guessing the same genre has.

    Args:
      labels: int [tracks], the training split's.
      genre_weights: Weight of an example of each genre, float [genres].
    """
    shares = np.bincount(labels, minlength=len(genre_weights)) * genre_weights
    return float(shares.max() / shares.sum())


def left_chance(accuracies: Sequence[float], *, chance: float, tracks: int) -> bool:
    """Whether any epoch's training accuracy is more than guessing has by luck.

    Args:
      accuracies: Training accuracy of each epoch.
      chance: From `chance`.
      tracks: Number of training tracks.
    """
    luck = _STANDARD_ERRORS * math.sqrt(chance * (1.0 - chance) / tracks)
    least = chance + max(_LEAST_GAIN * (1.0 - chance), luck)
    return max(accuracies, default=0.0) > min(least, 1.0 - 1e-6)


def remarks(
    model_name: str, accuracies: Sequence[float], labels: np.ndarray, genre_weights: np.ndarray
) -> tuple[str, ...]:
    """Says, and logs, that a network has learnt nothing, and what may help; else nothing.

    Args:
      model_name: Name of the model.
      accuracies: Training accuracy of each epoch.
      labels: int [tracks], the training split's.
      genre_weights: Weight of an example of each genre, float [genres].
    """
    guessing = chance(labels, genre_weights)
    if left_chance(accuracies, chance=guessing, tracks=len(labels)):
        return ()
    remark = (
        f"{model_name} has learnt nothing: its training accuracy never left chance "
        f"({max(accuracies, default=0.0):.2f} at best in {len(accuracies)} epochs, where guessing "
        f"has {guessing:.2f}). Train it longer (--epochs), at another rate "
        "(--set training.learning_rate=…), on more music, or from weights, if it can (--weights)"
    )
    logging.warning("%s", remark)
    return (remark,)
