"""Scores from probabilities, of windows and of tracks, with numpy alone."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well probabilities fit labels.

    Attributes:
      accuracy: Share of examples whose most probable genre is the right one.
      macro_f1: Mean over the genres that occur (as label or as answer) of the harmonic mean of
        precision and recall.
      loss: Mean cross-entropy, in nats.
      confusion: int64 [genres, genres]; rows are labels, columns are answers.
    """

    accuracy: float
    macro_f1: float
    loss: float
    confusion: np.ndarray


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores examples of any kind.

    Args:
      probabilities: float [examples, genres].
      labels: int [examples].

    Raises:
      ValueError: There are no examples, or the shapes do not fit.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise ValueError(
            "probabilities must be [examples, genres] and labels [examples], of at least one. "
            f"Received: {probabilities.shape} and {np.shape(labels)}"
        )
    genres = probabilities.shape[1]
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((genres, genres), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    hits = confusion.diagonal()
    named = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = 2.0 * hits[named > 0] / named[named > 0]
    right = probabilities[np.arange(len(labels)), labels]
    return Scores(
        accuracy=float(np.mean(answers == labels)),
        macro_f1=float(f1.mean()),
        loss=float(-np.log(np.maximum(right, 1e-7)).mean()),
        confusion=confusion,
    )


def track_scores(window_probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores tracks by the mean of their windows: [tracks, windows, genres] and [tracks]."""
    return score(window_probabilities.mean(axis=1), labels)


def window_scores(window_probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores every window by itself, with its track's label."""
    tracks, windows, genres = window_probabilities.shape
    return score(window_probabilities.reshape(tracks * windows, genres), np.repeat(labels, windows))


def mean_probabilities(branches: list[np.ndarray]) -> np.ndarray:
    """The ensemble's answer: the plain mean of its branches', whatever each one read.

    Args:
      branches: One array a model, float [tracks, genres], for the same tracks in the same order.

    Raises:
      ValueError: There is no branch, or their shapes differ.
    """
    shapes = {branch.shape for branch in branches}
    if len(shapes) != 1:
        raise ValueError(f"an ensemble needs branches of one shape. Received: {sorted(shapes)}")
    return np.mean(branches, axis=0)
