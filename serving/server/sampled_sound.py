"""Describes the sound and the answer of a sampled request, as ingest describes a track."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import soxr
import tensorflow as tf

from components.audio import codec, levels
from components.audio.bandwidth import LongTermSpectrum
from components.audio.settings import AudioSettings
from serving.server.queue import Outputs

_AUDIO = AudioSettings()


def describe_sound(inputs: Mapping[str, np.ndarray], row: int) -> dict[str, float]:
    """Levels, bandwidth and length of one row's sound, under the names of the raw example.

    Args:
      inputs: Of a signature: `audio`, with or without `sample_rate_hz`, `wav` or `examples`.
      row: Which.

    Returns:
      Values rounded to float32, as TFRecords hold them, so that equal sounds compare equal. They
      are of the middle clip, which is what ingest measures, but for `duration_seconds`. Nothing,
      if the sound is in none of the inputs or cannot be decoded here.
    """
    try:
        samples, seconds = _sound(inputs, row)
    except Exception:  # the model understood it, we do not
        return {}
    clip = codec.take_clips(samples, _AUDIO.clip_samples)
    spectrum = LongTermSpectrum()
    spectrum.add(clip, _AUDIO.sample_rate_hz)
    values = {
        **dataclasses.asdict(levels.measure(clip)),
        "bandwidth_hz": spectrum.bandwidth_hz(),
        "duration_seconds": seconds,
    }
    return {name: float(np.float32(value)) for name, value in values.items()}


def _sound(inputs: Mapping[str, np.ndarray], row: int) -> tuple[codec.Samples, float]:
    """Sound, float32 [n], and the length of all that was sent, in seconds."""
    if "wav" in inputs:
        decoded = codec.decode(
            inputs["wav"][row],
            name="the request",
            sample_rate_hz=_AUDIO.sample_rate_hz,
            middle_seconds=_AUDIO.clip_seconds,
        )
        return decoded.samples, decoded.duration_seconds
    if "audio" in inputs:
        samples = inputs["audio"][row]
        if "sample_rate_hz" in inputs:
            own_hz = float(inputs["sample_rate_hz"][row])
            samples = soxr.resample(samples, own_hz, _AUDIO.sample_rate_hz)
    else:
        example = tf.train.Example.FromString(inputs["examples"][row])
        (pcm,) = example.features.feature["audio"].bytes_list.value
        samples = codec.from_pcm16(pcm)
    return samples, len(samples) / _AUDIO.sample_rate_hz


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
        genre = outputs["genres"][row][ranked[0]].decode(errors="replace")
    return {
        "genre": genre,
        "confidence": round(float(probabilities[ranked[0]]), 6),
        "runner_up": round(float(probabilities[ranked[1]]), 6) if len(ranked) > 1 else 0.0,
        "entropy_bits": round(float(-(positive * np.log2(positive)).sum()), 6),
    }
