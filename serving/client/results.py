"""What a served model says of a song."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.audio.catalog import FEATURE_NAMES
from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.common.temperature import merged

# A runner-up that reaches this part of the best genre's probability makes it a close call.
CLOSE_RATIO = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of one part of a song.

    Attributes:
      model: Name of the model.
      version: The version that answered.
      outputs: Of `classify_wav` for one sound: `genres`, bytes [genres], in label order;
        `probabilities`, float32 [genres]; `window_probabilities`, float32 [windows, genres], zero
        for windows that do not count; `temperature`, which scales both (1 where it is missing).
    """

    model: str
    version: int
    outputs: Mapping[str, Any]


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
      call_seconds: Time that the model's answers took.

    Examples:
      >>> prediction = GenrePrediction(
      ...     "song.mp3", "genre", 1, ("disco", "pop"), np.array([0.8, 0.2]),
      ...     window_probabilities=np.array([[0.9, 0.1], [0.7, 0.3]]),
      ...     window_starts_seconds=np.array([0.0, 3.0]), window_seconds=3.0,
      ...     duration_seconds=6.0, call_seconds=0.1,
      ... )
      >>> prediction.verdict(), prediction.timeline()
      ('disco 80 %', [(0.0, 'disco', 0.9), (3.0, 'disco', 0.7)])
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

    @property
    def close(self) -> bool:
        """Whether the second genre is nearly as likely as the first (0.8 times or more)."""
        second = self.ranked()[1:2]
        return bool(second) and second[0][1] >= CLOSE_RATIO * self.probability

    def ranked(self) -> list[tuple[str, float]]:
        """Genres and probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.genres[i], float(self.probabilities[i])) for i in order]

    def verdict(self) -> str:
        """The genre in words: "jazz 81 %", or "disco 25 %, pop 23 %: close"."""
        named = [f"{genre} {100 * value:.0f} %" for genre, value in self.ranked()[:2]]
        return f"{', '.join(named)}: close" if self.close else named[0]

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
            "close": self.close,
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


def join_answers(
    name: str,
    lengths: Sequence[int],
    answers: Sequence[Answer | None],
    settings: AudioSettings,
    *,
    call_seconds: float,
) -> GenrePrediction:
    """The prediction of a song from one version's answers to its parts.

    The parts have `lengths` samples at the settings' rate. The answer to a silent part, which no
    model is asked about, is None.
    """
    windows, starts, window_seconds, before = [], [], 0.0, 0
    for samples, answer in zip(lengths, answers, strict=True):
        if answer is not None:
            every = answer.outputs["window_probabilities"]
            counting = every.any(axis=1)  # those of silent clips are zero
            begins, seconds = window_starts(samples, len(counting), settings)
            windows.append(every[counting])
            starts.append(begins[counting] + before / settings.sample_rate_hz)
            window_seconds = window_seconds or seconds
        before += samples
    first = next(answer for answer in answers if answer is not None)
    all_windows = np.concatenate(windows)
    return GenrePrediction(
        name=name,
        model=first.model,
        version=first.version,
        genres=tuple(genre.decode() for genre in first.outputs["genres"]),
        # One version answers all parts, so one temperature.
        probabilities=first.outputs["probabilities"]
        if len(answers) == 1
        else merged(all_windows, float(first.outputs.get("temperature", 1.0))),
        window_probabilities=all_windows,
        window_starts_seconds=np.concatenate(starts),
        window_seconds=window_seconds,
        duration_seconds=before / settings.sample_rate_hz,
        call_seconds=call_seconds,
    )


def window_starts(
    samples: int, windows: int, settings: AudioSettings
) -> tuple[npt.NDArray[np.float64], float]:
    """Says when each window of an answer begins.

    A model takes sound in clips of `clip_seconds`, end to end, and cuts each into windows; what is
    left at the end of a clip is in no window. Models read features of slightly different frame
    rates (2.97 s or 2.99 s a window), and an answer does not say which: the count does, and where
    it fits several the difference is small.

    Args:
      samples: Samples that were sent.
      windows: Windows that were answered.
      settings: The analysis settings.

    Returns:
      Where the windows begin, float64 [windows], and how long each is, in seconds.
    """
    whole, rest = divmod(samples, settings.clip_samples)
    clips = [settings.clip_samples] * whole
    if rest >= settings.minimum_samples:
        clips.append(rest)
    for name in FEATURE_NAMES:
        entry = feature(name, settings)
        seconds = entry.window_frames / entry.frames_per_second
        hop = settings.sample_rate_hz / entry.frames_per_second
        counts = [int(-(-length // hop)) // entry.window_frames for length in clips]
        if sum(counts) == windows:
            starts = [
                clip * settings.clip_seconds + seconds * np.arange(count)
                for clip, count in enumerate(counts)
            ]
            return np.concatenate(starts), seconds
    seconds = samples / settings.sample_rate_hz / max(windows, 1)
    return seconds * np.arange(windows), seconds
