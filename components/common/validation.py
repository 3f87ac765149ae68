"""Predictions for the validation split: written by the trainers, read by ModelSelector.

They are kept as served, after temperature scaling. In `common` because Trainer, EnsembleTrainer and
ModelSelector all use the file.
"""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from tfx.dsl.io import fileio

from components.common import calibration
from components.common.calibration import Calibration
from components.common.scoring import Scores, score, track_means
from components.common.temperature import scaled, unscaled

VALIDATION_FILE = "validation.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationAnswers:
    """A model's predictions for the validation split, sorted by track id.

    Attributes:
      track_ids: Ids of the tracks.
      labels: int64 [tracks].
      window_probabilities: float32 [tracks, clips, windows_per_clip, genres], each window scaled by
        the temperature; zeros where a window does not count.
      counts: bool [tracks, clips, windows_per_clip], true for windows of sound.
      temperature: T of the scaling; 1 for the network's own probabilities.
    """

    track_ids: tuple[str, ...]
    labels: np.ndarray
    window_probabilities: np.ndarray
    counts: np.ndarray
    temperature: float = 1.0

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of whole tracks as served, float32 [tracks, genres].

        That is the mean of the network's own over the windows that count, scaled.
        """
        tracks, *_, genres = self.window_probabilities.shape
        own = unscaled(self.window_probabilities, self.temperature)
        means = track_means(own.reshape(tracks, -1, genres), self.counts.reshape(tracks, -1))
        return scaled(means, self.temperature)

    def scores(self) -> Scores:
        """Scores whole tracks."""
        return score(self.probabilities, self.labels)

    def at_temperature(self, temperature: float) -> "ValidationAnswers":
        """The same answers at another temperature; at 1 the network's own probabilities."""
        own = unscaled(self.window_probabilities, self.temperature)
        return dataclasses.replace(
            self, window_probabilities=scaled(own, temperature), temperature=temperature
        )


def in_order(
    track_ids: Sequence[str],
    labels: np.ndarray,
    window_probabilities: np.ndarray,
    counts: np.ndarray,
    *,
    clips: int,
    temperature: float = 1.0,
) -> ValidationAnswers:
    """Sorts predictions by track id and sets those of windows that do not count to zero.

    Args:
      track_ids: Ids of the tracks.
      labels: int64 [tracks].
      window_probabilities: float [tracks, clips * windows_per_clip, genres].
      counts: bool [tracks, clips * windows_per_clip].
      clips: Clips that a track has room for.
      temperature: T that the probabilities are scaled by.
    """
    order = np.argsort(np.array(track_ids, dtype=object), kind="stable")
    tracks, _, genres = window_probabilities.shape
    windows = np.where(counts[..., np.newaxis], window_probabilities, 0.0).astype(np.float32)
    return ValidationAnswers(
        tuple(track_ids[place] for place in order),
        labels[order],
        windows.reshape(tracks, clips, -1, genres)[order],
        counts.reshape(tracks, clips, -1)[order],
        temperature,
    )


def calibrated(answers: ValidationAnswers) -> tuple[ValidationAnswers, Calibration]:
    """Fits the temperature on whole tracks and scales the answers by it.

    Args:
      answers: Answers of the network itself.
    """
    own = answers.at_temperature(1.0)
    fitted = calibration.fit(own.probabilities, own.labels)
    return own.at_temperature(fitted.temperature), fitted


def shared_windows(branches: Sequence[ValidationAnswers]) -> list[ValidationAnswers]:
    """The networks' own answers, cut to the windows that all branches of an ensemble have.

    Raises:
      ValueError: The branches were validated on different tracks.
    """
    first = branches[0]
    if any(branch.track_ids != first.track_ids for branch in branches):
        raise ValueError("the branches of an ensemble were validated on different tracks")
    shared = min(branch.counts.shape[2] for branch in branches)
    counts = np.logical_and.reduce([branch.counts[:, :, :shared] for branch in branches])
    own = [branch.at_temperature(1.0) for branch in branches]
    return [
        dataclasses.replace(
            branch, window_probabilities=branch.window_probabilities[:, :, :shared], counts=counts
        )
        for branch in own
    ]


def ensemble_answers(
    branches: Sequence[ValidationAnswers], weights: np.ndarray | None = None
) -> ValidationAnswers:
    """Averages the branches' own probabilities window by window, as the served ensemble does.

    A branch's temperature is not applied: the ensemble is calibrated as a whole. A clip has as many
    windows as the branch with the fewest.

    Args:
      branches: Of the same tracks.
      weights: Of each branch for each track, float [tracks, branches], rows with sum one; equal by
        default. What a branch of weight zero answers does not count, even if it is no number.

    Raises:
      ValueError: The branches were validated on different tracks.
    """
    cut = shared_windows(branches)
    first = cut[0]
    if weights is None:
        weights = np.full((len(first.labels), len(cut)), 1.0 / len(cut))
    stacked = np.stack([branch.window_probabilities for branch in cut])
    stacked = np.where(weights.T[:, :, np.newaxis, np.newaxis, np.newaxis], stacked, 0.0)
    mean = np.einsum("mtcwg,tm->tcwg", stacked, weights)
    windows = np.where(first.counts[..., np.newaxis], mean, 0.0).astype(np.float32)
    return dataclasses.replace(first, window_probabilities=windows)


def write(folder: str, answers: ValidationAnswers) -> None:
    """Writes `validation.npz` into a folder, which may be in an object store.

    Its arrays: `track_id` [tracks], `label` int64 [tracks], `window_probabilities` float32
    [tracks, windows, genres] (as served), `counts` bool [tracks, windows], `clips` int64 [] and
    `temperature` float64 [].
    """
    tracks, clips, _, genres = answers.window_probabilities.shape
    content = io.BytesIO()
    np.savez_compressed(
        content,
        track_id=np.array(answers.track_ids, dtype=np.str_),
        label=answers.labels,
        window_probabilities=answers.window_probabilities.reshape(tracks, -1, genres),
        counts=answers.counts.reshape(tracks, -1),
        clips=np.int64(clips),
        temperature=np.float64(answers.temperature),
    )
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{VALIDATION_FILE}", "wb") as file:
        file.write(content.getvalue())


def read(folder: str) -> ValidationAnswers:
    """Reads what `write` wrote."""
    with fileio.open(f"{folder}/{VALIDATION_FILE}", "rb") as file:
        content = io.BytesIO(file.read())
    with np.load(content) as arrays:
        return in_order(
            [str(name) for name in arrays["track_id"]],
            arrays["label"],
            arrays["window_probabilities"],
            arrays["counts"],
            clips=int(arrays["clips"]),
            temperature=float(arrays["temperature"]),
        )
