"""Describes the sound and the answer of a sampled request, as ingest describes a track."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from components.audio import codec, levels
from components.audio.bandwidth import LongTermSpectrum
from components.audio.codec import Samples
from components.audio.settings import AudioSettings
from serving.server.batching import Outputs

_AUDIO = AudioSettings()
_PCM16 = 32_768


@dataclasses.dataclass(frozen=True)
class Sound:
    """One row of a request as sound.

    Attributes:
      samples: float32 [n] in [-1, 1], mono: its middle clip, the part that ingest measures.
      duration_seconds: Length of all that was sent, in seconds.
    """

    samples: Samples
    duration_seconds: float

    def descriptors(self) -> dict[str, float]:
        """Levels, bandwidth and length, under the names of the raw example's features.

        Values are rounded to float32, as TFRecords hold them, so that equal sounds compare equal.
        """
        spectrum = LongTermSpectrum()
        spectrum.add(self.samples, _AUDIO.sample_rate_hz)
        values = {
            **dataclasses.asdict(levels.measure(self.samples)),
            "bandwidth_hz": spectrum.bandwidth_hz(),
            "duration_seconds": self.duration_seconds,
        }
        return {name: float(np.float32(value)) for name, value in values.items()}

    def wav(self) -> bytes:
        """The middle clip as a 16-bit WAV file."""
        return codec.encode_wav(self.samples, _AUDIO.sample_rate_hz)


def sound_of(inputs: Mapping[str, np.ndarray], row: int) -> Sound | None:
    """The sound in one row of a signature's inputs: `audio`, `wav` or `examples`.

    Returns:
      The sound; None if it is in none of them.

    Raises:
      AudioError: A WAV file cannot be decoded.
      ValueError: A raw example cannot be parsed.
    """
    if "audio" in inputs and inputs["audio"].ndim == 2:
        return _sound(inputs["audio"][row])
    if "wav" in inputs:
        decoded = codec.decode(
            inputs["wav"][row],
            name="the request",
            sample_rate_hz=_AUDIO.sample_rate_hz,
            middle_seconds=_AUDIO.clip_seconds,
        )
        return dataclasses.replace(
            _sound(decoded.samples), duration_seconds=decoded.duration_seconds
        )
    if "examples" in inputs:
        pcm = _example_audio(inputs["examples"][row])
        return _sound(np.frombuffer(pcm, "<i2").astype(np.float32) / _PCM16) if pcm else None
    return None


def describe_answer(outputs: Outputs, row: int) -> dict[str, Any]:
    """Genre, confidence, the runner-up's probability and the entropy of one row's answer.

    Args:
      outputs: `probabilities` [rows, genres] and, if it was asked for, `genres`.
      row: Which.

    Returns:
      `genre` is None where the call did not fetch the names; `entropy_bits` lies between 0 and
      log2 of the number of genres.
    """
    probabilities = outputs["probabilities"][row].astype(np.float64)
    ranked = np.argsort(-probabilities, kind="stable")
    positive = probabilities[probabilities > 0]
    genre = None
    if "genres" in outputs:
        name = outputs["genres"][row][ranked[0]]
        genre = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return {
        "genre": genre,
        "confidence": round(float(probabilities[ranked[0]]), 6),
        "runner_up": round(float(probabilities[ranked[1]]), 6) if len(ranked) > 1 else 0.0,
        "entropy_bits": round(float(-(positive * np.log2(positive)).sum()), 6),
    }


def _sound(samples: np.ndarray) -> Sound:
    clip = codec.take_clips(samples, _AUDIO.clip_samples)
    return Sound(clip, len(samples) / _AUDIO.sample_rate_hz)


def _example_audio(serialized: bytes) -> bytes:
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except Exception as error:  # protobuf's DecodeError, of either of its implementations
        raise ValueError(str(error)) from error
    values = features["audio"].bytes_list.value if "audio" in features else []
    return values[0] if values else b""
