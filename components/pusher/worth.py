"""Whether a blessed candidate is worth a push: clients notice every change of the model."""

from collections.abc import Mapping
from typing import Any

BETTER, NOT_WORSE = "better", "not-worse"
RULES = (BETTER, NOT_WORSE)

# A gain in accuracy counts if equals would come out so far apart with at most this probability
# (McNemar's exact test, one-sided), and a gain in log loss from this many nats on, if its whole
# 95 % interval is a gain.
_MOST_CHANCE = 0.1
_LEAST_NATS = 0.05


def not_worth(against: Mapping[str, Any] | None, *, changed: str) -> str:
    """Why a candidate that is not worse than production does not replace it; "" if it does.

    Args:
      against: What the gate's report says of the candidate beside production
        (`against_production`); None if nothing is in production.
      changed: What matters and differs from production's: its data or its code; "" if nothing.

    Examples:
      >>> equal = {"tracks": 12, "only_candidate": 1, "only_production": 1, "mcnemar_p": 1.0,
      ...          "log_loss_difference": [0.035, -0.1, 0.2], "same_model": False}
      >>> not_worth(equal, changed="")
      'as good as production: of 12 tracks each has 1 right alone, log loss +0.035'
      >>> not_worth(equal, changed="its training tracks are others")
      ''
    """
    if changed or not against or against["same_model"] or not against["tracks"]:
        return ""
    ours, theirs = against["only_candidate"], against["only_production"]
    difference, _, high = against["log_loss_difference"]
    # The test is symmetric: half of the two-sided probability is the one-sided one.
    if ours > theirs and against["mcnemar_p"] / 2 <= _MOST_CHANCE:
        return ""
    if difference <= -_LEAST_NATS and high < 0:
        return ""
    alone = f"each has {ours} right alone"
    if ours != theirs:
        alone = f"it has {ours} right alone and production {theirs}"
    return (
        f"as good as production: of {against['tracks']} tracks {alone}, log loss {difference:+.3f}"
    )
