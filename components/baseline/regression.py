"""Logistic regression on clip descriptors: the baseline that every network has to beat."""

import dataclasses

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# Inverse of the L2 penalty's weight: scikit-learn's default; docs/notes/gate.md has figures.
INVERSE_PENALTY = 1.0
_ITERATIONS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Descriptions:
    """Tracks as one row of numbers each.

    Attributes:
      track_ids: Ids of the tracks.
      labels: int64 [tracks].
      rows: float32 [tracks, columns].
    """

    track_ids: tuple[str, ...]
    labels: np.ndarray
    rows: np.ndarray


def describe(windows: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Summarises a track: mean and standard deviation of its windows' descriptors.

    Args:
      windows: float32 [clips * windows_per_clip, columns], as Transform gives them.
      frames: int64 [clips], how many windows of each clip are of sound; the others do not count.

    Returns:
      float32 [2 * columns]: all means, then all deviations.

    Raises:
      ValueError: No window is of sound.
    """
    per_clip = len(windows) // len(frames)
    of_sound = (np.arange(per_clip) < frames[:, np.newaxis]).reshape(-1)
    if not of_sound.any():
        raise ValueError(f"a track has no window of sound. Received: {frames} windows in its clips")
    counting = windows[: len(of_sound)][of_sound]
    return np.concatenate([counting.mean(axis=0), counting.std(axis=0)])


def fit(training: Descriptions) -> Pipeline:
    """Fits the regression: columns are standardised, and the penalty is on squared weights.

    Args:
      training: The training split, with tracks of at least two genres.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=_ITERATIONS)
    )
    return model.fit(training.rows, training.labels)


def probabilities(model: Pipeline, rows: np.ndarray, genres: int) -> np.ndarray:
    """Classifies tracks.

    Args:
      model: What `fit` returned.
      rows: float32 [tracks, columns].
      genres: Number of genres; one without a training track has probability 0.

    Returns:
      float32 [tracks, genres].
    """
    result = np.zeros((len(rows), genres), np.float32)
    if len(rows):
        result[:, model.classes_] = model.predict_proba(rows)
    return result
