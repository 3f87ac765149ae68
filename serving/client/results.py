"""What a served model says of a song."""

import dataclasses
from typing import Any

import numpy as np

from components.audio.features import FEATURE_NAMES, feature
from components.audio.settings import AudioSettings


@dataclasses.dataclass(frozen=True, eq=False)
class GenrePrediction:
    """The genres of one song.

    Attributes:
      name: What the song is called, its path as a rule.
      model: Name of the model.
      version: The version that answered.
      genres: Names in label order.
      probabilities: float32 [genres], of the whole song; they sum to one.
      window_probabilities: float32 [windows, genres], of each stretch of about 3 s.
      window_starts_seconds: float64 [windows], where each begins.
      window_seconds: How long each is.
      duration_seconds: Length of the song.
      call_seconds: Time that the server's answer took.
    """

    name: str
    model: str
    version: int
    genres: tuple[str, ...]
    probabilities: np.ndarray
    window_probabilities: np.ndarray
    window_starts_seconds: np.ndarray
    window_seconds: float
    duration_seconds: float
    call_seconds: float

    @property
    def genre(self) -> str:
        """The likeliest genre."""
        return self.genres[int(np.argmax(self.probabilities))]

    @property
    def probability(self) -> float:
        """Its probability."""
        return float(np.max(self.probabilities))

    def ranked(self) -> list[tuple[str, float]]:
        """Genres and probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.genres[i], float(self.probabilities[i])) for i in order]

    def timeline(self) -> list[tuple[float, str, float]]:
        """Start in seconds, likeliest genre and its probability, window by window."""
        best = np.argmax(self.window_probabilities, axis=1)
        return [
            (float(start), self.genres[i], float(row[i]))
            for start, row, i in zip(
                self.window_starts_seconds, self.window_probabilities, best, strict=True
            )
        ]

    def as_json(self) -> dict[str, Any]:
        """The prediction as JSON's types."""
        return {
            "file": self.name,
            "genre": self.genre,
            "probability": round(self.probability, 6),
            "probabilities": {name: round(value, 6) for name, value in self.ranked()},
            "windows": [
                {"start_seconds": round(start, 3), "genre": name, "probability": round(value, 6)}
                for start, name, value in self.timeline()
            ],
            "window_seconds": round(self.window_seconds, 4),
            "duration_seconds": round(self.duration_seconds, 3),
            "model": self.model,
            "version": self.version,
            "milliseconds": round(self.call_seconds * 1000, 1),
        }


def window_seconds(samples: int, windows: int, settings: AudioSettings) -> float:
    """Length of a window of a model that cut `samples` samples into `windows` of them.

    Models read features of slightly different frame rates (2.97 s or 2.99 s a window), and an
    answer does not say which: the count does, and where it fits several the difference is small.
    """
    for name in FEATURE_NAMES:
        described = feature(name, settings)
        frames = -(-samples * described.frames_per_second // settings.sample_rate_hz)
        if int(frames) // described.window_frames == windows:
            return described.window_frames / described.frames_per_second
    return samples / settings.sample_rate_hz / max(windows, 1)
