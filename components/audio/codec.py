"""Decodes audio files to mono samples at one rate; encodes and decodes 16-bit PCM.

`streaming.py` reads the files block by block. So memory grows with the decoded sound, not with the
size, the channels or the sample rate of the file.
"""

import contextlib
import dataclasses
import functools
import io
import wave
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import soundfile

from components.audio.streaming import (
    AudioError,
    Decoder,
    FfmpegDecoder,
    LibsndfileDecoder,
    Samples,
    check_rate,
    resampled,
)

# Limits that music stays within and broken or hostile files exceed.
MAXIMUM_BYTES = 1 << 29
MAXIMUM_SECONDS = 1800.0

_FULL_SCALE = 32768.0


@dataclasses.dataclass(frozen=True)
class DecodedAudio:
    """Decoded sound at the requested rate.

    Attributes:
      samples: float32 [n] in [-1, 1], mono.
      source_sample_rate_hz: The file's own rate, in hertz.
      source_channels: The file's own number of channels.
      duration_seconds: Length of the whole sound, even if `samples` holds only its middle.
    """

    samples: Samples
    source_sample_rate_hz: int
    source_channels: int
    duration_seconds: float


def decode(
    data: bytes,
    *,
    name: str,
    sample_rate_hz: int,
    middle_seconds: float | None = None,
    observe: Callable[[Samples, float], None] | None = None,
) -> DecodedAudio:
    """Decodes a WAV, AU, FLAC, MP3 or Ogg file: mono, at `sample_rate_hz`.

    Channels are averaged, and other rates resampled by soxr (HQ). Files that libsndfile cannot read
    are decoded by ffmpeg where that is installed.

    Args:
      data: The file's bytes.
      name: Name of the file, for errors.
      sample_rate_hz: Rate of the result, in hertz.
      middle_seconds: If given, only the middle of a longer sound is decoded.
      observe: If given, is called with every block that is decoded, mono, and its rate in hertz,
        before it is resampled; see `components.audio.bandwidth`.

    Returns:
      The sound. Without `middle_seconds` it is at most `MAXIMUM_SECONDS` long.

    Raises:
      AudioError: The data is empty, not audio, holds no sound, too long a sound, a rate
        that no music has, or a sample that is not a number.
    """
    if not data:
        raise AudioError(f"{name} is empty (0 bytes)", kind="empty")
    if len(data) > MAXIMUM_BYTES:
        raise AudioError(
            f"{name} is too large: at most {MAXIMUM_BYTES >> 20} MiB. "
            f"Received: {len(data) >> 20} MiB",
            kind="too large",
        )
    decode_by = functools.partial(
        _decode,
        name=name,
        sample_rate_hz=sample_rate_hz,
        middle_seconds=middle_seconds,
        observe=observe,
    )
    try:
        with contextlib.closing(LibsndfileDecoder(io.BytesIO(data), name)) as libsndfile:
            return decode_by(libsndfile)
    except soundfile.LibsndfileError as error:
        refusal = error
    with contextlib.closing(FfmpegDecoder(data, name, refusal=refusal)) as ffmpeg:
        return decode_by(ffmpeg)


def take_clips(samples: Samples, clip_samples: int, most: int = 1) -> Samples:
    """Takes evenly spread clips from a sound; a sound no longer than a clip is returned unchanged.

    The sound is divided into equal parts, and each clip is the middle of one. There are never more
    clips than fit without overlap.

    Args:
      samples: float32 [n].
      clip_samples: Samples in a clip.
      most: Maximum number of clips.

    Returns:
      float32, the clips end to end: a multiple of `clip_samples` samples, or all n if n is less.
    """
    if len(samples) <= clip_samples:
        return np.asarray(samples, np.float32)
    clips = min(most, len(samples) // clip_samples)
    excess = len(samples) - clips * clip_samples
    starts = [clip * clip_samples + (2 * clip + 1) * excess // (2 * clips) for clip in range(clips)]
    return np.concatenate([samples[start : start + clip_samples] for start in starts]).astype(
        np.float32, copy=False
    )


def to_pcm16(samples: npt.ArrayLike) -> bytes:
    """Encodes samples in [-1, 1] as little-endian 16-bit PCM, rounded and clipped.

    A 16-bit file decoded at its own rate comes back bit for bit.
    """
    scaled = np.rint(np.asarray(samples, np.float32) * np.float32(_FULL_SCALE))
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


def from_pcm16(data: bytes) -> Samples:
    """Decodes little-endian 16-bit PCM to float32 in [-1, 1)."""
    if len(data) % 2:
        raise AudioError(f"16-bit PCM has an even number of bytes. Received: {len(data)} bytes")
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def encode_wav(samples: npt.ArrayLike, sample_rate_hz: int) -> bytes:
    """Encodes mono samples in [-1, 1] as a 16-bit PCM WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(to_pcm16(samples))
    return buffer.getvalue()


def _decode(
    decoder: Decoder,
    *,
    name: str,
    sample_rate_hz: int,
    middle_seconds: float | None,
    observe: Callable[[Samples, float], None] | None,
) -> DecodedAudio:
    """Decodes an open sound; errors of libsndfile are passed on."""
    rate = decoder.rate_hz
    check_rate(rate, name)
    frames_read = 0

    def counted(block: Samples) -> Samples:
        nonlocal frames_read
        frames_read += len(block)
        if observe is not None:
            observe(block, rate)
        return block

    def read(start: int, count: int) -> Samples:
        nonlocal frames_read
        frames_read = 0
        blocks = map(counted, decoder.blocks(start, count))
        samples = list(resampled(blocks, rate, sample_rate_hz))
        return np.concatenate(samples) if samples else np.zeros(0, np.float32)

    frames = decoder.frames
    most = int(MAXIMUM_SECONDS * rate)
    middle = most if middle_seconds is None else round(middle_seconds * rate)
    cut = middle_seconds is not None and frames > middle
    if frames > most and not cut:
        raise AudioError(
            f"{name} is too long: at most {MAXIMUM_SECONDS:.0f} s. Received: {frames / rate:.0f} s",
            kind="too long",
        )
    samples = read((frames - middle) // 2, middle) if cut else read(0, most)
    if cut and frames_read < middle:
        # The file is truncated: its length is that of the sound that is left.
        samples, frames = read(0, most), frames_read
        excess = max(0, len(samples) - round(middle * sample_rate_hz / rate))
        samples = samples[excess // 2 : len(samples) - (excess - excess // 2)]
    if not len(samples):
        raise AudioError(f"{name} is empty: it holds no samples", kind="empty")
    return DecodedAudio(
        samples=np.clip(samples, -1.0, 1.0),
        source_sample_rate_hz=rate,
        source_channels=decoder.channels,
        duration_seconds=frames / rate if cut else len(samples) / sample_rate_hz,
    )
