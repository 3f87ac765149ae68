"""Chooses an ensemble's members and their weights on the validation split.

Weights are those of a mixture whose components, the members' probabilities, are known: the most
probable ones under a symmetric Dirichlet prior, by expectation-maximisation (as for interpolated
language models, Jelinek and Mercer 1980). Few tracks leave them near the equal weights of the
prior, many tracks move them as far as the evidence goes, and a weak member counts for little.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common.copies import original_id
from components.common.metrics import log_losses

_FOLDS = 10
_ITERATIONS = 100
_PRIOR_TRACKS = 0.5  # that speak for each member beforehand
_LEAST_WEIGHT = (
    0.05  # a member below it is left out: its answers cost more time than they are worth
)


@dataclasses.dataclass(frozen=True, eq=False)
class Membership:
    """How much each member counts.

    Attributes:
      weights: float64 [members], with sum one; a member of weight zero is left out.
      weights_without: float64 [tracks, members]: for each validation track the weights that were
        chosen without it. With them a figure on the validation split flatters no one.
      reason: Why these weights, in a few words.
      broken: Places of the members whose answers are no numbers; their weight is zero.
    """

    weights: np.ndarray
    weights_without: np.ndarray
    reason: str
    broken: tuple[int, ...] = ()

    def as_sentence(self, names: Sequence[str]) -> str:
        """Names the members with their weights, and the reason."""
        order = np.argsort(-self.weights, kind="stable")
        members = [f"{names[member]} {self.weights[member]:.2f}" for member in order]
        chosen = [text for text, member in zip(members, order, strict=True) if self.weights[member]]
        left_out = [names[member] for member in order if not self.weights[member]]
        without = f", without {', '.join(left_out)}" if left_out else ""
        reason = self.reason
        if self.broken:
            reason += f"; the answers of {', '.join(names[member] for member in self.broken)} are "
            reason += "no numbers"
        return f"the ensemble is {' + '.join(chosen)}{without} ({reason})"


def choose(probabilities: np.ndarray, labels: np.ndarray, track_ids: Sequence[str]) -> Membership:
    """Chooses weights for the members of an ensemble.

    A track and its copies together count as one track. A member with an answer that is no finite
    number, whose training has diverged, gets no weight; if that holds for all, all have the same,
    and the ensemble's answers are no numbers either, which the gate refuses.

    Args:
      probabilities: Of each member for each validation track, float [members, tracks, genres].
      labels: int [tracks].
      track_ids: Ids of the tracks and of their copies.
    """
    sound = np.isfinite(probabilities).all(axis=(1, 2))
    members, tracks, _ = probabilities.shape
    if not sound.any():
        equal = np.full(members, 1.0 / members)
        everyone = np.broadcast_to(equal, (tracks, members))
        return Membership(equal, everyone, "equal weights", tuple(range(members)))
    chosen = _choose(probabilities[sound], labels, track_ids)
    weights, without = np.zeros(members), np.zeros((tracks, members))
    weights[sound], without[:, sound] = chosen.weights, chosen.weights_without
    return Membership(weights, without, chosen.reason, tuple(np.flatnonzero(~sound).tolist()))


def _choose(probabilities: np.ndarray, labels: np.ndarray, track_ids: Sequence[str]) -> Membership:
    members, rows, _ = probabilities.shape
    of_labels = np.exp([-log_losses(member, labels) for member in probabilities])
    # Each row's track, by number.
    numbers = np.unique([original_id(track) for track in track_ids], return_inverse=True)[1]
    shares = 1.0 / np.bincount(numbers)[numbers]
    folds = numbers % _FOLDS
    without = np.empty((rows, members))
    for fold in range(_FOLDS):
        others = folds != fold
        without[~others] = _weights(of_labels[:, others], shares[others])
    reason = f"chosen on {numbers.max() + 1} validation tracks"
    return Membership(_weights(of_labels, shares), without, reason)


def _weights(of_labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The most probable weights, float [members].

    Args:
      of_labels: Each member's probability of the right genre, float [members, rows].
      shares: How much of a track each row is, float [rows].
    """
    weights = np.full(len(of_labels), 1.0 / len(of_labels))
    for _ in range(_ITERATIONS):
        responsible = weights[:, np.newaxis] * of_labels
        weights = responsible / responsible.sum(axis=0) @ shares + _PRIOR_TRACKS
        weights /= weights.sum()
    weights[weights < min(_LEAST_WEIGHT, weights.max())] = 0.0
    return weights / weights.sum()
