"""Bands of loudness and bandwidth, and the source's rate: what figures are sliced by.

In `common` because the released graph names a track's bands for TFMA, and the gate names them for
its own intervals: both from these tables.
"""

import bisect
import dataclasses


@dataclasses.dataclass(frozen=True)
class Bands:
    """Names for the ranges between sorted edges.

    Attributes:
      edges: The lower edge of every band but the first; it belongs to the band above it.
      names: One more than there are edges.
    """

    edges: tuple[float, ...]
    names: tuple[str, ...]

    def name(self, value: float) -> str:
        """The band that a value lies in."""
        return self.names[bisect.bisect_right(self.edges, value)]


LOUDNESS = Bands(
    (-25.0, -15.0),
    ("quiet (under -25 dBFS)", "medium (-25 to -15 dBFS)", "loud (-15 dBFS and over)"),
)
# A telephone ends at 3.4 or 4 kHz, sound of 22 050 Hz at 11, most MP3 encoders at 16.
BANDWIDTH = Bands(
    (4500.0, 9000.0, 15_000.0, 17_500.0),
    (
        "telephone (under 4.5 kHz)",
        "narrow (4.5 to 9 kHz)",
        "medium (9 to 15 kHz)",
        "MP3 (15 to 17.5 kHz)",
        "full (17.5 kHz and over)",
    ),
)

LOUDNESS_SLICE, BANDWIDTH_SLICE, RATE_SLICE = SLICES = (
    "loudness",
    "bandwidth",
    "source_sample_rate",
)


def of_track(*, rms_db: float, bandwidth_hz: float, source_sample_rate_hz: int) -> dict[str, str]:
    """The slices that a track is in, by name of the slice.

    Args:
      rms_db: Its level, in dBFS.
      bandwidth_hz: The highest frequency at which it has power, in hertz.
      source_sample_rate_hz: The file's own rate, in hertz.

    Examples:
      >>> of_track(rms_db=-12.0, bandwidth_hz=3900.0, source_sample_rate_hz=8000)["bandwidth"]
      'telephone (under 4.5 kHz)'
    """
    return {
        LOUDNESS_SLICE: LOUDNESS.name(rms_db),
        BANDWIDTH_SLICE: BANDWIDTH.name(bandwidth_hz),
        RATE_SLICE: f"{source_sample_rate_hz} Hz",
    }
