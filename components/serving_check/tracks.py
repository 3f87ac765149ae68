"""The test tracks that the served candidate is asked about."""

import dataclasses
from collections.abc import Collection

import numpy as np
from tfx.types import Artifact

from components.audio import codec
from components.common import raw_examples
from components.serving_check.calls import Arrays

SPLIT = "test"
PUBLIC_SIGNATURES = ("serving_default", "classify_audio", "classify_wav")
AT_RATE = "classify_audio_at_rate"  # which models of earlier releases lack


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """One test track.

    Attributes:
      track_id: Its id.
      example: Its raw example, serialized.
      audio: Its sound, float32 [samples].
    """

    track_id: str
    example: bytes
    audio: np.ndarray

    def inputs(self, signature: str, *, sample_rate_hz: int) -> Arrays:
        """The track as input of one of `PUBLIC_SIGNATURES`, or of `AT_RATE`."""
        if signature == "classify_audio":
            return {"audio": self.audio[np.newaxis]}
        if signature == AT_RATE:
            rate = np.array([sample_rate_hz], np.int32)
            return {"audio": self.audio[np.newaxis], "sample_rate_hz": rate}
        if signature == "classify_wav":
            wav = codec.encode_wav(self.audio, sample_rate_hz)
            return {"wav": np.array([wav], dtype=object)}
        return {"examples": np.array([self.example], dtype=object)}


def read_tracks(examples: Artifact, count: int, *, among: Collection[str]) -> list[Track]:
    """Reads the first test tracks of raw examples.

    Args:
      examples: The raw examples.
      count: Most tracks.
      among: Ids of the tracks that are wanted.

    Raises:
      ValueError: There is no test split, or a record is no raw example.
    """
    tracks: list[Track] = []
    for record in raw_examples.records(raw_examples.split_files(examples.uri, SPLIT)):
        track = raw_examples.RawTrack.parse(record)
        if track.track_id in among:
            tracks.append(Track(track.track_id, record, track.samples))
        if len(tracks) == count:
            break
    return tracks
