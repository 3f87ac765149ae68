"""Settings of the serving check."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class ServingCheckSettings:
    """What the served candidate is asked, and what it may take.

    Attributes:
      sample_rate_hz: Of the sound that the model takes.
      model_name: Name under which the candidate is served.
      tracks: Test tracks that are sent.
      pairs: Most pairs of calls (served, bare) that are timed.
      seconds: How long pairs are timed; at least `tracks` pairs are.
      tolerance: Largest difference of a probability between what is served and what was evaluated;
        and of a feature from the bare call's, as a share of the feature where that is above 1.
      max_latency_ratio: Largest 95th percentile of the served call's time, as a multiple of that
        of the bare call of the same model; None for no limit.
      max_latency_seconds: Largest 95th percentile of the served call's time for a clip; None for
        no limit.
      max_memory_mib: Most memory of the server with the candidate, in MiB; None for no limit.
      start_seconds: How long the server may take until it serves the candidate.
      call_seconds: How long one call may take.
    """

    sample_rate_hz: int
    model_name: str = "genre"
    tracks: int = 5
    pairs: int = 24
    seconds: float = 3.0
    tolerance: float = 1e-4
    max_latency_ratio: float | None = 5.0
    max_latency_seconds: float | None = 10.0
    max_memory_mib: int | None = 4096
    start_seconds: float = 300.0
    call_seconds: float = 60.0

    def to_json(self) -> str:
        """The settings as a parameter of the node."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ServingCheckSettings":
        """Reads what `to_json` gives; what is left out has its default."""
        return cls(**json.loads(text))
