"""Sound of any length, read block by block: memory is that of a block, not of the file."""

import contextlib
import dataclasses
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from components.audio import codec, ffmpeg
from components.audio.codec import AudioError, Samples

# Formats that libsndfile does not read and ffmpeg does.
FFMPEG_SUFFIXES = (".m4a", ".aac")
SUFFIXES = tuple(dict.fromkeys((*codec.SUFFIXES, *FFMPEG_SUFFIXES)))


@dataclasses.dataclass(frozen=True)
class SoundStream:
    """An opened sound.

    Attributes:
      source_sample_rate_hz: The file's own rate, in hertz.
      source_channels: The file's own channels.
      blocks: float32 [n] each, mono, in [-1, 1], at the rate that was asked for. Reading them
        raises `AudioError` where the file is broken.
    """

    source_sample_rate_hz: int
    source_channels: int
    blocks: Iterator[Samples]


@contextlib.contextmanager
def open_sound(source: Path | bytes, *, name: str, sample_rate_hz: int) -> Iterator[SoundStream]:
    """Opens a file (or its bytes) whose samples are read while the `with` block lasts.

    The samples are those of `codec.decode`: channels averaged, resampled by soxr (HQ). What
    libsndfile cannot read is decoded by ffmpeg where that is installed.

    Args:
      source: A file's path, or its content.
      name: What to call it in an error.
      sample_rate_hz: Rate of the blocks, in hertz.

    Raises:
      AudioError: It is empty, not audio, or has no usable sample rate.
      OSError: The file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        # An opened file, not its name: soundfile cannot encode names that are not UTF-8.
        file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        stack.enter_context(file)
        if not file.read(1):
            raise AudioError(f"{name} is empty (0 bytes)", kind="empty")
        file.seek(0)
        try:
            sound = stack.enter_context(soundfile.SoundFile(file))
            rate, channels = sound.samplerate, sound.channels
            blocks = _libsndfile_blocks(sound, name)
        except soundfile.LibsndfileError as error:
            rate, channels, blocks = _open_by_ffmpeg(source, name, error, stack)
        if not codec.MINIMUM_RATE_HZ <= rate <= codec.MAXIMUM_RATE_HZ:
            raise AudioError(
                f"{name} has no usable sample rate: {codec.MINIMUM_RATE_HZ} to "
                f"{codec.MAXIMUM_RATE_HZ} Hz. Received: {rate} Hz"
            )
        if rate != sample_rate_hz:
            blocks = codec.resampled(blocks, rate, sample_rate_hz)
        clipped = (np.clip(block, -1.0, 1.0) for block in blocks)
        yield SoundStream(rate, channels, clipped)


def _libsndfile_blocks(sound: soundfile.SoundFile, name: str) -> Iterator[Samples]:
    try:
        yield from codec.mono_blocks(sound, name=name, count=sys.maxsize)
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip().rstrip(".")
        raise AudioError(f"{name} is broken ({reason})") from error


def _open_by_ffmpeg(
    source: Path | bytes,
    name: str,
    refusal: soundfile.LibsndfileError,
    stack: contextlib.ExitStack,
) -> tuple[int, int, Iterator[Samples]]:
    """Returns the sample rate, the channels and the blocks at that rate."""
    path = source
    if isinstance(path, bytes):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        content, path = path, folder / f"sound{Path(name).suffix}"
        path.write_bytes(content)
    try:
        sound = stack.enter_context(ffmpeg.open_pcm(path))
    except ffmpeg.FFmpegError as error:
        raise codec.not_audio(name, str(refusal.error_string)) from error
    return sound.sample_rate_hz, sound.channels, _ffmpeg_blocks(sound, name)


def _ffmpeg_blocks(sound: ffmpeg.PcmStream, name: str) -> Iterator[Samples]:
    try:
        for block in sound.blocks:
            yield codec.to_mono(codec.from_int16(block), name=name)
    except ffmpeg.FFmpegError as error:
        raise AudioError(f"{name} is broken (its decoder stopped)") from error
