"""From an audio file's bytes to samples at one rate, and to 16-bit PCM and back.

Files are read by libsndfile (soundfile) block by block, mixed to mono and resampled by soxr as they
come, so that memory follows the sound that is kept and not the size or the rate of the file.
"""

import contextlib
import dataclasses
import io
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

SUFFIXES = (".wav", ".au", ".flac", ".mp3", ".ogg")

# Limits that no music meets and that a broken or hostile file does.
MAXIMUM_BYTES = 1 << 29
MAXIMUM_SECONDS = 1800.0
MINIMUM_RATE_HZ = 1000
MAXIMUM_RATE_HZ = 768_000

_BLOCK_VALUES = 1 << 19  # values (frames times channels) read at a time: 2 MB
_FULL_SCALE = 32768.0

Samples = npt.NDArray[np.float32]


class AudioError(ValueError):
    """A file that cannot be used as sound; the message says why, fit for a user.

    Attributes:
      kind: What is wrong, in a word or three to count by: "not audio", "empty", "not a number",
        "too long" or "too large".
    """

    def __init__(self, message: str, *, kind: str = "not audio"):
        super().__init__(message)
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class DecodedAudio:
    """Sound at the rate that was asked for.

    Attributes:
      samples: float32 [n] in [-1, 1], mono.
      source_sample_rate_hz: The file's own rate, in hertz.
      source_channels: The file's own channels.
      duration_seconds: Length of the file's whole sound, also where `samples` holds its middle.
    """

    samples: Samples
    source_sample_rate_hz: int
    source_channels: int
    duration_seconds: float


def decode(
    data: bytes, *, name: str, sample_rate_hz: int, middle_seconds: float | None = None
) -> DecodedAudio:
    """Decodes a WAV, AU, FLAC, MP3 or Ogg file: mono, at `sample_rate_hz`.

    Channels are averaged, and other rates resampled by soxr (HQ). What libsndfile cannot read is
    offered to audioread, which finds ffmpeg where that is installed.

    Args:
      data: The file's bytes.
      name: What to call the file in an error.
      sample_rate_hz: Rate of the result, in hertz.
      middle_seconds: Where given, sound longer than this is decoded only in its middle.

    Returns:
      The sound. Without `middle_seconds` it is at most `MAXIMUM_SECONDS` long.

    Raises:
      AudioError: The data is empty, not audio, holds no sound, too long a sound, a rate outside
        `MINIMUM_RATE_HZ` to `MAXIMUM_RATE_HZ`, or a sample that is not a number.
    """
    if not data:
        raise AudioError(f"{name} is empty (0 bytes)", kind="empty")
    if len(data) > MAXIMUM_BYTES:
        raise AudioError(
            f"{name} is too large: at most {MAXIMUM_BYTES >> 20} MiB. "
            f"Received: {len(data) >> 20} MiB",
            kind="too large",
        )
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            return _decode_sound(
                sound, name=name, sample_rate_hz=sample_rate_hz, middle_seconds=middle_seconds
            )
    except soundfile.LibsndfileError as error:
        converted = _convert_by_audioread(data, name)
        if converted is None:
            detail = str(error.error_string).strip().rstrip(".")
            raise AudioError(f"{name} is not audio that can be read ({detail})") from error
    with soundfile.SoundFile(io.BytesIO(converted)) as sound:
        return _decode_sound(
            sound, name=name, sample_rate_hz=sample_rate_hz, middle_seconds=middle_seconds
        )


def fit_clip(samples: Samples, clip_samples: int) -> Samples:
    """Makes a sound exactly `clip_samples` long: pads its end with zeros or takes its middle.

    Args:
      samples: float32 [n].
      clip_samples: Samples wanted.

    Returns:
      float32 [clip_samples].
    """
    excess = len(samples) - clip_samples
    if excess <= 0:
        return np.pad(samples, (0, -excess)).astype(np.float32, copy=False)
    return np.asarray(samples[excess // 2 : excess // 2 + clip_samples], np.float32)


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


def _decode_sound(
    sound: soundfile.SoundFile, *, name: str, sample_rate_hz: int, middle_seconds: float | None
) -> DecodedAudio:
    """Decodes an opened file; libsndfile's own errors pass through."""
    rate, channels = sound.samplerate, sound.channels
    if not MINIMUM_RATE_HZ <= rate <= MAXIMUM_RATE_HZ:
        raise AudioError(
            f"{name} has no usable sample rate: {MINIMUM_RATE_HZ} to {MAXIMUM_RATE_HZ} Hz. "
            f"Received: {rate} Hz"
        )
    frames = sound.frames
    wanted = int(MAXIMUM_SECONDS * rate)
    if middle_seconds is not None and frames > (keep := round(middle_seconds * rate)):
        wanted = keep
        # Not every file can seek; from its start is then better than not at all.
        with contextlib.suppress(soundfile.LibsndfileError):
            sound.seek((frames - keep) // 2)
    elif frames > wanted:
        raise AudioError(
            f"{name} is too long: at most {MAXIMUM_SECONDS:.0f} s. Received: {frames / rate:.0f} s",
            kind="too long",
        )
    blocks = _mono_blocks(sound, name=name, wanted=wanted)
    if rate != sample_rate_hz:
        blocks = _resampled(blocks, rate, sample_rate_hz)
    kept = list(blocks)
    samples = np.concatenate(kept) if kept else np.zeros(0, np.float32)
    if not len(samples):
        raise AudioError(f"{name} is empty: it holds no samples", kind="empty")
    seconds = frames / rate if wanted < frames else len(samples) / sample_rate_hz
    return DecodedAudio(
        samples=np.clip(samples, -1.0, 1.0),
        source_sample_rate_hz=rate,
        source_channels=channels,
        duration_seconds=seconds,
    )


def _mono_blocks(sound: soundfile.SoundFile, *, name: str, wanted: int) -> Iterator[Samples]:
    """Reads at most `wanted` frames, averages their channels and refuses what is no number."""
    block_frames = max(1, _BLOCK_VALUES // sound.channels)
    while wanted > 0:
        block = sound.read(min(block_frames, wanted), dtype="float32", always_2d=True)
        if not len(block):
            return
        if not np.isfinite(block).all():
            raise AudioError(
                f"{name} holds samples that are not numbers (NaN or infinity)", kind="not a number"
            )
        wanted -= len(block)
        if sound.channels == 1:
            yield block[:, 0]
        else:
            # Clipped first: the sum of two huge float samples would overflow to infinity.
            yield np.clip(block, -1.0, 1.0).mean(axis=1, dtype=np.float32)


def _resampled(blocks: Iterator[Samples], rate: int, sample_rate_hz: int) -> Iterator[Samples]:
    """Resamples a sound that comes in blocks, without a seam between them."""
    stream = soxr.ResampleStream(rate, sample_rate_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(np.clip(block, -1.0, 1.0)))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _convert_by_audioread(data: bytes, name: str) -> bytes | None:
    """Lets audioread's backends decode what libsndfile cannot; None where none of them can."""
    import audioread  # not needed for the five formats, so not loaded for them

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sound{Path(name).suffix}"
        path.write_bytes(data)
        buffer = io.BytesIO()
        try:
            with audioread.audio_open(str(path)) as source, wave.open(buffer, "wb") as file:
                file.setnchannels(source.channels)
                file.setsampwidth(2)
                file.setframerate(source.samplerate)
                left = int(MAXIMUM_SECONDS * source.samplerate) * source.channels * 2
                for block in source:
                    if left <= 0:
                        break
                    file.writeframes(block[:left])
                    left -= len(block)
        except (audioread.DecodeError, OSError, EOFError, wave.Error, ZeroDivisionError):
            return None
    return buffer.getvalue()
