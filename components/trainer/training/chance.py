"""Tells whether a network has learnt anything at all."""

import math
from collections.abc import Sequence

import numpy as np
from absl import logging

# Chance is left behind with this share of what lies between it and perfection.
_LEAST_GAIN = 0.05
# Or, where tracks are few, with this many standard errors over tracks.
_STANDARD_ERRORS = 3.0


def remarks(
    model_name: str, accuracies: Sequence[float], labels: np.ndarray, genre_weights: np.ndarray
) -> tuple[str, ...]:
    """Returns and logs a sentence if the training accuracy of no epoch is above chance.

    Chance is the weighted accuracy of always guessing the same genre, the best one to guess.

    Args:
      model_name: Name of the model.
      accuracies: Training accuracy of each epoch.
      labels: int [tracks], the training split's.
      genre_weights: Weight of an example of each genre, float [genres].

    Returns:
      The sentence, which says what may help; nothing if the network has learnt something.
    """
    shares = np.bincount(labels, minlength=len(genre_weights)) * genre_weights
    chance = float(shares.max() / shares.sum())
    luck = _STANDARD_ERRORS * math.sqrt(chance * (1.0 - chance) / len(labels))
    least = min(chance + max(_LEAST_GAIN * (1.0 - chance), luck), 1.0 - 1e-6)
    best = max(accuracies, default=0.0)
    if best > least:
        return ()
    remark = (
        f"{model_name} has learnt nothing: its training accuracy never left chance ({best:.2f} at "
        f"best in {len(accuracies)} epochs, where guessing has {chance:.2f}). Train it longer "
        "(--epochs), at another rate (--set training.learning_rate=…), on more music, or from "
        "weights, if it can (--weights)"
    )
    logging.warning("%s", remark)
    return (remark,)
