"""Answers for the validation split, as trainers keep them: as served, after temperature scaling."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common import answers, calibration
from components.common.answers import TrackAnswers
from components.common.calibration import Calibration
from components.common.metrics import track_means
from components.common.temperature import scaled, unscaled


def in_order(
    track_ids: Sequence[str],
    labels: np.ndarray,
    window_probabilities: np.ndarray,
    counts: np.ndarray,
    *,
    clips: int,
) -> TrackAnswers:
    """Makes answers, sorted by track id, of a network's own predictions for windows.

    Args:
      track_ids: Ids of the tracks.
      labels: int64 [tracks].
      window_probabilities: float [tracks, clips * windows_per_clip, genres].
      counts: bool [tracks, clips * windows_per_clip].
      clips: Clips that a track has room for.
    """
    windows = np.where(counts[..., np.newaxis], window_probabilities, 0.0).astype(np.float32)
    return answers.in_order(
        track_ids,
        labels,
        _of_tracks(windows, counts, temperature=1.0),
        window_probabilities=windows,
        counts=counts,
        clips=clips,
    )


def at_temperature(scaled_answers: TrackAnswers, temperature: float) -> TrackAnswers:
    """The same answers at another temperature; at 1 the network's own probabilities."""
    own = unscaled(scaled_answers.window_probabilities, scaled_answers.temperature)
    return _with_windows(scaled_answers, scaled(own, temperature), temperature=temperature)


def calibrated(own: TrackAnswers) -> tuple[TrackAnswers, Calibration]:
    """Fits the temperature on whole tracks and scales a network's own answers by it."""
    fitted = calibration.fit(own.probabilities, own.labels)
    return at_temperature(own, fitted.temperature), fitted


def shared_windows(branches: Sequence[TrackAnswers]) -> list[TrackAnswers]:
    """The networks' own answers, cut to the windows that all branches of an ensemble have.

    Raises:
      ValueError: The branches were validated on different tracks.
    """
    first = branches[0]
    if any(branch.track_ids != first.track_ids for branch in branches):
        raise ValueError("the branches of an ensemble were validated on different tracks")
    tracks = len(first.labels)
    shared = min(branch.counts.shape[1] // branch.clips for branch in branches)

    def cut(values: np.ndarray) -> np.ndarray:
        by_clip = values.reshape(tracks, first.clips, -1, *values.shape[2:])
        return by_clip[:, :, :shared].reshape(tracks, -1, *values.shape[2:])

    counts = np.logical_and.reduce([cut(branch.counts) for branch in branches])
    own = [at_temperature(branch, 1.0) for branch in branches]
    return [
        _with_windows(branch, cut(branch.window_probabilities), counts=counts) for branch in own
    ]


def ensemble_answers(branches: Sequence[TrackAnswers], weights: np.ndarray) -> TrackAnswers:
    """Averages the branches' own probabilities window by window, as the served ensemble does.

    A branch's temperature is not applied: the ensemble is calibrated as a whole.

    Args:
      branches: Of the same tracks and windows: from `shared_windows`.
      weights: Of each branch for each track, float [tracks, branches], rows with sum one. What a
        branch of weight zero answers does not count, even if it is no number.
    """
    stacked = np.stack([branch.window_probabilities for branch in branches])
    stacked = np.where(weights.T[:, :, np.newaxis, np.newaxis], stacked, 0.0)
    mean = np.einsum("mtwg,tm->twg", stacked, weights)
    counts = branches[0].counts[..., np.newaxis]
    return _with_windows(branches[0], np.where(counts, mean, 0.0).astype(np.float32))


def write(folder: str, scaled_answers: TrackAnswers, fitted: Calibration) -> None:
    """Writes `validation.npz` and `calibration.json` into a folder, also in an object store."""
    answers.write(folder, answers.VALIDATION, scaled_answers)
    calibration.write(folder, fitted)


def read(folder: str) -> TrackAnswers:
    """Reads the answers that `write` wrote."""
    return answers.read(folder, answers.VALIDATION)


def _with_windows(
    base: TrackAnswers,
    windows: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    temperature: float | None = None,
) -> TrackAnswers:
    """Answers with other windows, and the probabilities of whole tracks that follow from them."""
    counts = base.counts if counts is None else counts
    temperature = base.temperature if temperature is None else temperature
    return dataclasses.replace(
        base,
        probabilities=_of_tracks(windows, counts, temperature),
        window_probabilities=windows,
        counts=counts,
        temperature=temperature,
    )


def _of_tracks(windows: np.ndarray, counts: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of whole tracks as served: the mean of the network's own, scaled."""
    return scaled(track_means(unscaled(windows, temperature), counts), temperature)
