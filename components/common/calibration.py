"""Fits the temperature that a model's probabilities are scaled by, and keeps it in a file."""

import dataclasses
import math

import numpy as np
import orjson
from scipy import optimize
from tfx.dsl.io import fileio

from components.common import metrics
from components.common.temperature import HIGHEST, LOWEST, scaled

CALIBRATION_FILE = "calibration.json"

# With fewer tracks nothing is fitted.
FEWEST_TRACKS = 10
# ln T is expected to be near 0 by this much before any track is seen, so that a few tracks, all of
# them right perhaps, do not make a model as sure as the bounds allow. A hundred outweigh it.
_PRIOR_DEVIATION = 0.5


@dataclasses.dataclass(frozen=True)
class Figures:
    """How far probabilities can be taken at their word.

    Attributes:
      ece: See `metrics.calibration_error`. NaN if it cannot be computed, as the other.
      log_loss: Mean cross-entropy, in nats.
    """

    ece: float
    log_loss: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and what it does to the split that it was fitted on.

    Attributes:
      temperature: T of `components.common.temperature.scaled`; 1 changes nothing.
      tracks: Tracks of the split.
      before: Figures of the network's own probabilities.
      after: Figures of the scaled ones.
      note: Why nothing was fitted, or that T is at a bound; "" otherwise.
    """

    temperature: float
    tracks: int
    before: Figures
    after: Figures
    note: str = ""


def fit(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fits the temperature by the log loss, with a prior that keeps it near 1 for few tracks.

    Minimises the summed log loss plus (ln T)² / (2 · 0.5²) over T from 0.25 to 4.

    Args:
      probabilities: float [tracks, genres], of the network itself.
      labels: int [tracks].

    Returns:
      The calibration. Its temperature is 1, and its note says why, where there are under
      `FEWEST_TRACKS` tracks, probabilities that are not numbers, tracks of one genre only, or
      probabilities that are all equal.
    """
    tracks = len(labels)
    before = figures(probabilities, labels)
    note = _obstacle(probabilities, labels)
    if note:
        return Calibration(1.0, tracks, before, before, note)

    def cost(log_temperature: float) -> float:
        loss = metrics.log_loss(scaled(probabilities, float(np.exp(log_temperature))), labels)
        return tracks * loss + 0.5 * (log_temperature / _PRIOR_DEVIATION) ** 2

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    minimum = optimize.minimize_scalar(cost, bounds=bounds, method="bounded")
    temperature = float(np.exp(minimum.x))
    if min(abs(minimum.x - bound) for bound in bounds) < 1e-3:
        note = f"the temperature is at its bound ({LOWEST:g} to {HIGHEST:g})"
    after = figures(scaled(probabilities, temperature), labels)
    return Calibration(temperature, tracks, before, after, note)


def figures(probabilities: np.ndarray, labels: np.ndarray) -> Figures:
    """Measures calibration.

    Args:
      probabilities: float [tracks, genres].
      labels: int [tracks].
    """
    if not len(labels) or not np.isfinite(probabilities).all():
        return Figures(math.nan, math.nan)
    return Figures(
        metrics.calibration_error(metrics.reliability(probabilities, labels)),
        metrics.log_loss(probabilities, labels),
    )


def write(folder: str, calibration: Calibration) -> None:
    """Writes `calibration.json`; a figure that is not a number is null."""
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{CALIBRATION_FILE}", "wb") as file:
        file.write(orjson.dumps(calibration, option=orjson.OPT_INDENT_2))


def read(folder: str) -> Calibration | None:
    """Reads what `write` wrote; None where there is no such file."""
    path = f"{folder}/{CALIBRATION_FILE}"
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file:
        values = orjson.loads(file.read())
    for split in ("before", "after"):
        known = {
            name: math.nan if value is None else value for name, value in values[split].items()
        }
        values[split] = Figures(**known)
    return Calibration(**values)


def _obstacle(probabilities: np.ndarray, labels: np.ndarray) -> str:
    if len(labels) < FEWEST_TRACKS:
        return f"{len(labels)} validation tracks: at least {FEWEST_TRACKS} are needed to fit it"
    if not np.isfinite(probabilities).all():
        return "the network's probabilities are not numbers"
    if len(np.unique(labels)) == 1:
        return "the validation tracks are of one genre"
    if np.ptp(probabilities, axis=1).max() < 1e-6:
        return "the network gives every genre the same probability"
    return ""
