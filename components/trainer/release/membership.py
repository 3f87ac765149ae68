"""Chooses an ensemble's members and their weights on the validation split.

Greedy forward selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes 2004): the
member that lowers the loss most is added again and again, and a member's weight is how often it was
added. On few tracks this finds luck, so the plain mean of all members stays unless weights that
were chosen on other tracks are clearly better.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common.copies import original_id
from components.common.metrics import log_loss, log_losses

_ROUNDS = 25
_FOLDS = 10
# A choice between few members is one number or two, but each track is all or nothing.
_LEAST_TRACKS = 30


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

    Every track is in one of ten folds, with its copies. Weights are chosen on nine of them and
    judged on the tenth; only if their loss over all tracks is lower than the plain mean's by more
    than one standard error are weights chosen on all tracks. A member with an answer that is no
    finite number, whose training has diverged, gets no weight; if that holds for all, all have the
    same, and the ensemble's answers are no numbers either, which the gate refuses.

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
    # Each row's track, by number.
    numbers = np.unique([original_id(track) for track in track_ids], return_inverse=True)[1]
    tracks = int(numbers.max()) + 1
    equal = np.full(members, 1.0 / members)
    everyone = np.broadcast_to(equal, (rows, members))
    if tracks < _LEAST_TRACKS:
        return Membership(
            equal, everyone, f"equal weights: {tracks} validation tracks are too few to choose by"
        )
    folds = numbers % _FOLDS
    without = np.empty((rows, members))
    for fold in range(_FOLDS):
        others = folds != fold
        without[~others] = _greedy(probabilities[:, others], labels[others])
    gain = _losses(probabilities, labels, everyone) - _losses(probabilities, labels, without)
    gain = np.bincount(numbers, gain) / np.bincount(numbers)  # the mean over a track's copies
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(tracks):
        return Membership(
            equal, everyone, f"equal weights: no others are clearly better on {tracks} tracks"
        )
    weights = _greedy(probabilities, labels)
    return Membership(weights, without, f"chosen on {tracks} validation tracks")


def _greedy(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Greedy selection with replacement; the best of all its steps counts: float [members]."""
    counts, total = np.zeros(len(probabilities)), np.zeros(probabilities.shape[1:])
    best_loss, best = np.inf, counts
    for size in range(1, _ROUNDS + 1):
        losses = [log_loss((total + member) / size, labels) for member in probabilities]
        added = int(np.argmin(losses))
        counts[added] += 1
        total += probabilities[added]
        if losses[added] < best_loss - 1e-9:
            best_loss, best = losses[added], counts / size
    return best


def _losses(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cross-entropy of each track under its own weights [tracks, members], in nats."""
    return log_losses(np.einsum("mtg,tm->tg", probabilities, weights), labels)
