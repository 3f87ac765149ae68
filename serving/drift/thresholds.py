"""What counts as drift."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a figure may be at most; docs/serving.md, "Monitoring", gives the reasons.

    Attributes:
      psi: Population stability index of a descriptor.
      divergence: Jensen-Shannon divergence of a descriptor, in bits.
      genre_shift: Largest change of a genre's share, 0 to 1.
      confidence_drop: Mean confidence on the test tracks less that on the samples.
      close_share: Share of answers whose runner-up is close.
      refused_share: Share of calls whose input was refused.
    """

    psi: float = 0.25
    divergence: float = 0.1
    genre_shift: float = 0.2
    confidence_drop: float = 0.15
    close_share: float = 0.5
    refused_share: float = 0.1
