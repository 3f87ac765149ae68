"""Opens sound of any format and length, read block by block: memory is that of a block.

libsndfile (soundfile) reads a file, or ffmpeg where libsndfile cannot and ffmpeg is installed. Each
block is mixed to mono at once, and resampled by soxr (HQ).
"""

import contextlib
import dataclasses
import functools
import io
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from components.audio import ffmpeg

# Suffixes of audio files. libsndfile reads the first five, and some of the last; ffmpeg the others.
_LIBSNDFILE_SUFFIXES = (".wav", ".au", ".flac", ".mp3", ".ogg")
_FOR_FFMPEG = (
    *(".m4a", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape", ".caf", ".dsf"),
    *(".m4b", ".mka", ".mp2", ".mp4", ".mpc", ".oga", ".opus", ".ra", ".snd", ".tta", ".w64"),
    *(".wave", ".webm", ".wma", ".wv"),
)
AUDIO_SUFFIXES = (*_LIBSNDFILE_SUFFIXES, *_FOR_FFMPEG)
SUFFIXES = AUDIO_SUFFIXES[:7]  # those that the client takes from a folder

MINIMUM_RATE_HZ = 1000
MAXIMUM_RATE_HZ = 768_000

_BLOCK_VALUES = 1 << 19  # values (frames times channels) read at a time: 2 MB
_INT16_FULL_SCALE = np.float32(32_768)

Samples = npt.NDArray[np.float32]


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
class SoundStream:
    """An opened sound.

    Attributes:
      source_sample_rate_hz: The file's own rate, in hertz.
      source_channels: The file's own channels.
      source_blocks: float32 [n] each, mono, at the file's own rate.
    """

    source_sample_rate_hz: int
    source_channels: int
    source_blocks: Iterator[Samples]

    def blocks(self, sample_rate_hz: int) -> Iterator[Samples]:
        """Reads the sound, once: float32 [n] each, mono, in [-1, 1], at a rate in hertz.

        Raises:
          AudioError: The file is broken.
        """
        for block in resampled(self.source_blocks, self.source_sample_rate_hz, sample_rate_hz):
            yield np.clip(block, -1.0, 1.0)


@contextlib.contextmanager
def open_sound(source: Path | bytes, *, name: str) -> Iterator[SoundStream]:
    """Opens a file (or its bytes) whose samples are read while the `with` block lasts.

    The samples are those of `codec.decode`.

    Args:
      source: A file's path, or its content.
      name: What to call it in an error.

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
        decoder: Decoder
        try:
            decoder = LibsndfileDecoder(file, name)
        except soundfile.LibsndfileError as error:
            decoder = FfmpegDecoder(source, name, refusal=error)
        stack.callback(decoder.close)
        check_rate(decoder.rate_hz, name)
        yield SoundStream(decoder.rate_hz, decoder.channels, _blocks(decoder, name))


class LibsndfileDecoder:
    """A sound that libsndfile reads; its errors are passed on.

    Attributes:
      rate_hz: The file's own rate, in hertz.
      channels: The file's own channels.
      frames: Number of frames that the file says it has.
    """

    def __init__(self, file: BinaryIO, name: str):
        """Opens a sound; `name` is what errors call it."""
        self._sound, self._name = soundfile.SoundFile(file), name
        self.rate_hz, self.channels = self._sound.samplerate, self._sound.channels
        self.frames: int = self._sound.frames

    def blocks(self, start: int = 0, count: int = sys.maxsize) -> Iterator[Samples]:
        """Reads up to `count` frames from `start` on, as mono blocks."""
        if start or self._sound.tell():
            # Not every file can seek; its beginning is better than nothing.
            with contextlib.suppress(soundfile.LibsndfileError):
                self._sound.seek(start)
        block_frames = max(1, _BLOCK_VALUES // self.channels)
        while count > 0:
            block = self._sound.read(min(block_frames, count), dtype="float32", always_2d=True)
            if not len(block):
                return
            count -= len(block)
            yield _to_mono(block, self._name)

    def close(self) -> None:
        """Closes the sound."""
        self._sound.close()


class FfmpegDecoder:
    """A sound that ffmpeg reads, from its start each time.

    Attributes:
      rate_hz: The file's own rate, in hertz.
      channels: The file's own channels.
    """

    def __init__(self, source: Path | bytes, name: str, *, refusal: soundfile.LibsndfileError):
        """Opens a sound.

        Args:
          source: A file's path, or its content.
          name: What errors call it.
          refusal: Why libsndfile does not read it.

        Raises:
          AudioError: ffmpeg does not read it either, or is not installed.
        """
        self._name = name
        with contextlib.ExitStack() as stack:
            if isinstance(source, bytes):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                self._path = folder / f"sound{Path(name).suffix}"
                self._path.write_bytes(source)
            else:
                self._path = source
            try:
                self._decoder = ffmpeg.Decoder(self._path)
            except ffmpeg.FFmpegError as error:
                raise _not_audio(name, refusal) from error
            self._files = stack.pop_all()
        self._begun = False
        self.rate_hz, self.channels = self._decoder.sample_rate_hz, self._decoder.channels

    @functools.cached_property
    def frames(self) -> int:
        """Number of frames, found by decoding all of them."""
        return sum(len(block) for block in self._pcm())

    def blocks(self, start: int = 0, count: int = sys.maxsize) -> Iterator[Samples]:
        """Reads up to `count` frames from `start` on, as mono blocks."""
        position = 0
        for block in self._pcm():
            asked = block[max(0, start - position) : max(0, start + count - position)]
            position += len(block)
            if len(asked):
                yield _to_mono(asked.astype(np.float32) / _INT16_FULL_SCALE, self._name)
            if position >= start + count:
                return

    def close(self) -> None:
        """Ends ffmpeg and removes what was written for it."""
        self._decoder.close()
        self._files.close()

    def _pcm(self) -> Iterator[npt.NDArray[np.int16]]:
        if self._begun:
            self._decoder.close()
            self._decoder = ffmpeg.Decoder(self._path)
        self._begun = True
        try:
            yield from self._decoder.blocks()
        except ffmpeg.FFmpegError as error:
            raise AudioError(f"{self._name} is broken (its decoder stopped)") from error


Decoder = LibsndfileDecoder | FfmpegDecoder


def resampled(blocks: Iterable[Samples], rate: int, sample_rate_hz: int) -> Iterator[Samples]:
    """Resamples a sound block by block, without seams."""
    if rate == sample_rate_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(np.clip(block, -1.0, 1.0)))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def check_rate(rate_hz: int, name: str) -> None:
    """Raises `AudioError` for a rate that no music has; `name` is what it calls the sound."""
    if not MINIMUM_RATE_HZ <= rate_hz <= MAXIMUM_RATE_HZ:
        raise AudioError(
            f"{name} has no usable sample rate: {MINIMUM_RATE_HZ} to {MAXIMUM_RATE_HZ} Hz. "
            f"Received: {rate_hz} Hz",
            kind="unusable sample rate",
        )


def _blocks(decoder: Decoder, name: str) -> Iterator[Samples]:
    try:
        yield from decoder.blocks()
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name} is broken ({_reason(error)})") from error


def _not_audio(name: str, refusal: soundfile.LibsndfileError) -> AudioError:
    """The error for a file that nothing decodes; it asks for ffmpeg where that might."""
    suffix = Path(name).suffix.lower()
    if suffix in _FOR_FFMPEG and not ffmpeg.is_installed():
        return AudioError(
            f"{name} has no decoder: install ffmpeg, which reads {suffix}, or convert it",
            kind="no decoder",
        )
    return AudioError(f"{name} is not audio that can be read ({_reason(refusal)})")


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".")


def _to_mono(block: Samples, name: str) -> Samples:
    """Averages the channels of float32 [frames, channels]."""
    if not np.isfinite(block).all():
        raise AudioError(
            f"{name} holds samples that are not numbers (NaN or infinity)", kind="not a number"
        )
    if block.shape[1] == 1:
        return block[:, 0]
    # Clipped first: the sum of two huge float samples would overflow to infinity.
    return np.clip(block, -1.0, 1.0).mean(axis=1, dtype=np.float32)
