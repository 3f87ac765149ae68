"""Scores probabilities of windows and of tracks."""

import dataclasses

import numpy as np
from sklearn import metrics


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracy, macro-F1, loss and confusion matrix of a set of examples.

    Attributes:
      accuracy: Share of examples whose most probable genre is the right one.
      macro_f1: Mean F1 over the genres that occur as a label or as a prediction.
      loss: Mean cross-entropy, in nats.
      confusion: int64 [genres, genres]; rows are labels, columns are predictions.
    """

    accuracy: float
    macro_f1: float
    loss: float
    confusion: np.ndarray


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores examples, windows or tracks alike.

    Args:
      probabilities: float [examples, genres].
      labels: int [examples].

    Raises:
      ValueError: There are no examples, or the shapes do not match.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise ValueError(
            "probabilities must be [examples, genres] and labels [examples], of at least one. "
            f"Received: {probabilities.shape} and {np.shape(labels)}"
        )
    predicted = probabilities.argmax(axis=1)
    return Scores(
        accuracy=float(metrics.accuracy_score(labels, predicted)),
        macro_f1=float(metrics.f1_score(labels, predicted, average="macro")),
        loss=log_loss(probabilities, labels),
        confusion=metrics.confusion_matrix(
            labels, predicted, labels=np.arange(probabilities.shape[1])
        ),
    )


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy, in nats; a probability under 1e-7 counts as that.

    Args:
      probabilities: float [examples, genres].
      labels: int [examples].
    """
    # sklearn's log_loss would warn about rows whose float32 sum is not quite 1.
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_label, 1e-7)).mean())


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance of probabilities and label, summed over genres (Brier 1950), 0 to 2.

    Args:
      probabilities: float [examples, genres].
      labels: int [examples].
    """
    actual = np.eye(probabilities.shape[1])[labels]
    return float(np.square(probabilities - actual).sum(axis=1).mean())


def track_means(window_values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Averages each track's windows.

    Args:
      window_values: float [tracks, windows, …].
      counts: bool [tracks, windows], true for windows that count; at least one of each track.

    Returns:
      [tracks, …].
    """
    where = counts.reshape(*counts.shape, *[1] * (window_values.ndim - 2))
    return window_values.mean(axis=1, where=where)


def track_scores(
    window_probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> Scores:
    """Scores tracks by the mean of their windows.

    Args:
      window_probabilities: float [tracks, windows, genres].
      labels: int [tracks].
      counts: bool [tracks, windows], which windows count.
    """
    return score(track_means(window_probabilities, counts), labels)


def window_scores(
    window_probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> Scores:
    """Scores every counting window with its track's label; see `track_scores`."""
    repeated = np.broadcast_to(labels[:, np.newaxis], counts.shape)
    return score(window_probabilities[counts], repeated[counts])


def mean_probabilities(branches: list[np.ndarray]) -> np.ndarray:
    """Averages the probabilities of an ensemble's branches.

    Args:
      branches: Probabilities of each model, float [tracks, genres], tracks in the same order.

    Raises:
      ValueError: There is no branch, or their shapes differ.
    """
    shapes = {branch.shape for branch in branches}
    if len(shapes) != 1:
        raise ValueError(f"an ensemble needs branches of one shape. Received: {sorted(shapes)}")
    return np.mean(branches, axis=0)
