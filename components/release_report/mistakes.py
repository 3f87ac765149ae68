"""The worst mistakes of a model: tracks that it took for a wrong genre with most confidence."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common.answers import TrackAnswers

_MOST_GENRES = 3  # rows of a window timeline


@dataclasses.dataclass(frozen=True, eq=False)
class Mistake:
    """One wrong answer.

    Attributes:
      track_id: Id of the track.
      actual: Its genre.
      predicted: The genre that the model named.
      confidence: The probability of that, in [0, 1].
      of_actual: The probability of the actual genre, in [0, 1].
      timeline: Genres (predicted, actual, then the most probable others), each with its
        probability in every window that counts, in order; empty if windows are unknown.
    """

    track_id: str
    actual: str
    predicted: str
    confidence: float
    of_actual: float
    timeline: tuple[tuple[str, tuple[float, ...]], ...] = ()


def worst(answers: TrackAnswers, genres: Sequence[str], *, most: int) -> list[Mistake]:
    """Lists the wrong answers with the highest confidence, the most confident first.

    Tracks without an answer are left out: nothing can be said of their confidence.

    Args:
      answers: For the test split.
      genres: Names in label order.
      most: How many at most.
    """
    predictions = answers.predictions
    wrong = np.flatnonzero((predictions >= 0) & (predictions != answers.labels))
    confidences = answers.probabilities[wrong, predictions[wrong]]
    ranked = wrong[np.argsort(-confidences, kind="stable")][:most]
    return [_mistake(answers, int(row), genres) for row in ranked]


def _mistake(answers: TrackAnswers, row: int, genres: Sequence[str]) -> Mistake:
    probabilities = answers.probabilities[row]
    actual, predicted = int(answers.labels[row]), int(answers.predictions[row])
    others = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    shown = list(dict.fromkeys([predicted, actual, *others]))[:_MOST_GENRES]
    windows = answers.window_probabilities[row][answers.counts[row]]
    timeline = tuple(
        (genres[genre], tuple(float(value) for value in windows[:, genre])) for genre in shown
    )
    return Mistake(
        track_id=answers.track_ids[row],
        actual=genres[actual],
        predicted=genres[predicted],
        confidence=float(probabilities[predicted]),
        of_actual=float(probabilities[actual]),
        timeline=timeline if len(windows) else (),
    )
