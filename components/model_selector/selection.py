"""Which of the judged models is released: the best of those that are blessed."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A trained model and its judgement on the test split, at track level.

    Attributes:
      model: Its name in the catalog.
      tracks: Tracks it was judged on.
      accuracy: Share of them that are right, in [0, 1].
      macro_f1: Mean of the genres' F1, in [0, 1].
      blessed: Whether it passed every threshold.
      reasons: One sentence for each threshold that it missed.
    """

    model: str
    tracks: int
    accuracy: float
    macro_f1: float
    blessed: bool
    reasons: tuple[str, ...] = ()


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The blessed candidate of the highest accuracy, then macro-F1, then the first; or None."""
    blessed = [candidate for candidate in candidates if candidate.blessed]
    return max(
        blessed, key=lambda candidate: (candidate.accuracy, candidate.macro_f1), default=None
    )
