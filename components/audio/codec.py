"""Decodes audio files to mono samples at one rate; encodes and decodes 16-bit PCM.

libsndfile (soundfile) reads files block by block; each block is mixed to mono and resampled by soxr
at once. So memory grows with the decoded sound, not with the size or sample rate of the file.
"""

import contextlib
import dataclasses
import io
import tempfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from components.audio import ffmpeg

SUFFIXES = (".wav", ".au", ".flac", ".mp3", ".ogg")
# Further suffixes of audio files: libsndfile reads some, ffmpeg (where installed) the others.
AUDIO_SUFFIXES = (
    *SUFFIXES,
    *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape", ".caf", ".dsf", ".m4a"),
    *(".m4b", ".mka", ".mp2", ".mp4", ".mpc", ".oga", ".opus", ".ra", ".snd", ".tta", ".w64"),
    *(".wave", ".webm", ".wma", ".wv"),
)

# Limits that music stays within and broken or hostile files exceed.
MAXIMUM_BYTES = 1 << 29
MAXIMUM_SECONDS = 1800.0
MINIMUM_RATE_HZ = 1000
MAXIMUM_RATE_HZ = 768_000

_BLOCK_VALUES = 1 << 19  # values (frames times channels) read at a time: 2 MB
_FULL_SCALE = 32768.0

Samples = npt.NDArray[np.float32]
_Observer = Callable[[Samples, float], None]


class AudioError(ValueError):
    """A file that cannot be decoded to usable sound; the message tells the user why.

    Attributes:
      kind: Short name of the fault, for counting: "not audio", "no decoder", "empty",
        "not a number", "too long", "too large" or "unusable sample rate".
    """

    def __init__(self, message: str, *, kind: str = "not audio"):
        super().__init__(message)
        self.kind = kind


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
    observe: _Observer | None = None,
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
                sound,
                name=name,
                sample_rate_hz=sample_rate_hz,
                middle_seconds=middle_seconds,
                observe=observe,
            )
    except soundfile.LibsndfileError as error:
        converted = _convert_by_ffmpeg(data, name)
        if converted is None:
            raise not_audio(name, str(error.error_string)) from error
    with soundfile.SoundFile(io.BytesIO(converted)) as sound:
        return _decode_sound(
            sound,
            name=name,
            sample_rate_hz=sample_rate_hz,
            middle_seconds=middle_seconds,
            observe=observe,
        )


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
    return from_int16(np.frombuffer(data, "<i2"))


def from_int16(values: npt.NDArray[np.int16]) -> Samples:
    """Scales 16-bit samples to float32 in [-1, 1)."""
    return values.astype(np.float32) / np.float32(_FULL_SCALE)


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
    sound: soundfile.SoundFile,
    *,
    name: str,
    sample_rate_hz: int,
    middle_seconds: float | None,
    observe: _Observer | None,
) -> DecodedAudio:
    """Decodes an open file; errors of libsndfile are passed on."""
    rate, channels = sound.samplerate, sound.channels
    if not MINIMUM_RATE_HZ <= rate <= MAXIMUM_RATE_HZ:
        raise AudioError(
            f"{name} has no usable sample rate: {MINIMUM_RATE_HZ} to {MAXIMUM_RATE_HZ} Hz. "
            f"Received: {rate} Hz",
            kind="unusable sample rate",
        )
    frames = sound.frames
    most = int(MAXIMUM_SECONDS * rate)
    keep = most if middle_seconds is None else round(middle_seconds * rate)
    cut = middle_seconds is not None and frames > keep
    if frames > most and not cut:
        raise AudioError(
            f"{name} is too long: at most {MAXIMUM_SECONDS:.0f} s. Received: {frames / rate:.0f} s",
            kind="too long",
        )
    start, count = ((frames - keep) // 2, keep) if cut else (0, most)
    samples, frames_read = _read(
        sound, name=name, rate_hz=sample_rate_hz, start=start, count=count, observe=observe
    )
    if cut and frames_read < count:
        # The file is truncated: its length is that of the sound that is left.
        samples, frames = _read(
            sound, name=name, rate_hz=sample_rate_hz, start=0, count=most, observe=observe
        )
        excess = max(0, len(samples) - round(keep * sample_rate_hz / rate))
        samples = samples[excess // 2 : len(samples) - (excess - excess // 2)]
    if not len(samples):
        raise AudioError(f"{name} is empty: it holds no samples", kind="empty")
    seconds = frames / rate if cut else len(samples) / sample_rate_hz
    return DecodedAudio(
        samples=np.clip(samples, -1.0, 1.0),
        source_sample_rate_hz=rate,
        source_channels=channels,
        duration_seconds=seconds,
    )


def _read(
    sound: soundfile.SoundFile,
    *,
    name: str,
    rate_hz: int,
    start: int,
    count: int,
    observe: _Observer | None,
) -> tuple[Samples, int]:
    """Reads up to `count` frames from `start`; returns them at `rate_hz`, and their number."""
    if start or sound.tell():
        # Not every file can seek; its beginning is better than nothing.
        with contextlib.suppress(soundfile.LibsndfileError):
            sound.seek(start)
    frames_read = 0

    def counted() -> Iterator[Samples]:
        nonlocal frames_read
        for block in mono_blocks(sound, name=name, count=count):
            frames_read += len(block)
            if observe is not None:
                observe(block, sound.samplerate)
            yield block

    blocks = counted()
    if sound.samplerate != rate_hz:
        blocks = resampled(blocks, sound.samplerate, rate_hz)
    samples = list(blocks)
    return (np.concatenate(samples) if samples else np.zeros(0, np.float32)), frames_read


def mono_blocks(sound: soundfile.SoundFile, *, name: str, count: int) -> Iterator[Samples]:
    """Reads up to `count` frames as mono blocks; see `to_mono`."""
    block_frames = max(1, _BLOCK_VALUES // sound.channels)
    while count > 0:
        block = sound.read(min(block_frames, count), dtype="float32", always_2d=True)
        if not len(block):
            return
        count -= len(block)
        yield to_mono(block, name=name)


def to_mono(block: Samples, *, name: str) -> Samples:
    """Averages the channels of float32 [frames, channels].

    Raises:
      AudioError: A sample is NaN or infinite.
    """
    if not np.isfinite(block).all():
        raise AudioError(
            f"{name} holds samples that are not numbers (NaN or infinity)", kind="not a number"
        )
    if block.shape[1] == 1:
        return block[:, 0]
    # Clipped first: the sum of two huge float samples would overflow to infinity.
    return np.clip(block, -1.0, 1.0).mean(axis=1, dtype=np.float32)


def resampled(blocks: Iterator[Samples], rate: int, sample_rate_hz: int) -> Iterator[Samples]:
    """Resamples a sound block by block, without seams."""
    stream = soxr.ResampleStream(rate, sample_rate_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(np.clip(block, -1.0, 1.0)))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def not_audio(name: str, detail: str) -> AudioError:
    """Makes the error for an undecodable file; it asks for ffmpeg if that could decode the file."""
    suffix = Path(name).suffix.lower()
    if suffix in AUDIO_SUFFIXES and suffix not in SUFFIXES and not ffmpeg.is_installed():
        return AudioError(
            f"{name} has no decoder: install ffmpeg, which reads {suffix}, or convert it",
            kind="no decoder",
        )
    return AudioError(f"{name} is not audio that can be read ({detail.strip().rstrip('.')})")


def _convert_by_ffmpeg(data: bytes, name: str) -> bytes | None:
    """Decodes a file to a WAV file; None if ffmpeg cannot.

    Raises:
      AudioError: The sound is too long to be converted.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sound{Path(name).suffix}"
        path.write_bytes(data)
        buffer = io.BytesIO()
        try:
            with ffmpeg.open_pcm(path) as source, wave.open(buffer, "wb") as file:
                file.setnchannels(source.channels)
                file.setsampwidth(2)
                file.setframerate(source.sample_rate_hz)
                left = int(MAXIMUM_SECONDS * source.sample_rate_hz)
                for block in source.blocks:
                    left -= len(block)
                    if left < 0:
                        raise AudioError(
                            f"{name} is too long: at most {MAXIMUM_SECONDS:.0f} s where ffmpeg has "
                            "to convert it",
                            kind="too long",
                        )
                    file.writeframes(block.astype("<i2").tobytes())
        except ffmpeg.FFmpegError:
            return None
    return buffer.getvalue()
