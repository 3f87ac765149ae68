"""Decodes files that libsndfile cannot read, by the program ffmpeg.

What a file says decides what ffmpeg opens: a playlist that is named `song.m4a` would make it fetch
addresses and read other files of this machine. So it may use the protocol `file` only, and only
formats that hold their sound themselves.
"""

import contextlib
import dataclasses
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

# ffmpeg's names of the formats behind `codec.AUDIO_SUFFIXES`. None is a list of other files.
_DEMUXERS = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "caf", "dsf", "eac3", "flac", "loas"),
    *("matroska", "mov", "mp3", "mpc", "mpc8", "ogg", "rm", "tta", "w64", "wav", "wv"),
)
_TRUSTING_NOTHING = ("-protocol_whitelist", "file", "-format_whitelist", ",".join(_DEMUXERS))
# Ten hours of music take ffmpeg two minutes; a file that takes this long is no music.
_PROCESSOR_SECONDS = 600
# An AU file says its sample rate and channels in 24 bytes, and can be written to a pipe.
_HEADER = struct.Struct(">4s5I")
_BLOCK_BYTES = 1 << 20


class FFmpegError(ValueError):
    """ffmpeg is missing, cannot read the file, or stopped in the middle of it."""


@dataclasses.dataclass(frozen=True)
class PcmStream:
    """Sound that ffmpeg is decoding.

    Attributes:
      sample_rate_hz: The file's own rate, in hertz.
      channels: The file's own channels.
      blocks: int16 [frames, channels] each. Reading them raises `FFmpegError` where ffmpeg stops.
    """

    sample_rate_hz: int
    channels: int
    blocks: Iterator[npt.NDArray[np.int16]]


def is_installed() -> bool:
    """Whether the program is on PATH."""
    return shutil.which("ffmpeg") is not None


@contextlib.contextmanager
def open_pcm(path: Path) -> Iterator[PcmStream]:
    """Decodes a file's first sound to 16-bit PCM, block by block, while the `with` block lasts.

    Args:
      path: A local file.

    Raises:
      FFmpegError: ffmpeg is not installed, or cannot read the file.
    """
    command = [
        *("ffmpeg", "-nostdin", "-v", "quiet", "-timelimit", str(_PROCESSOR_SECONDS)),
        *(*_TRUSTING_NOTHING, "-i", f"file:{path.absolute()}"),
        *("-vn", "-sn", "-dn", "-c:a", "pcm_s16be", "-f", "au", "pipe:1"),
    ]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise FFmpegError("ffmpeg cannot be started") from error
    with process:  # which closes the pipe and waits
        try:
            yield _read_header(process)
        finally:
            process.kill()


def _read_header(process: subprocess.Popen[bytes]) -> PcmStream:
    assert process.stdout is not None
    header = process.stdout.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise FFmpegError("ffmpeg cannot read it")
    _, offset, _, _, rate, channels = _HEADER.unpack(header)
    process.stdout.read(offset - _HEADER.size)  # the annotation
    if not rate or not channels:
        raise FFmpegError("it holds no sound")
    return PcmStream(rate, channels, _blocks(process, channels))


def _blocks(process: subprocess.Popen[bytes], channels: int) -> Iterator[npt.NDArray[np.int16]]:
    assert process.stdout is not None
    frame_bytes = 2 * channels
    while data := process.stdout.read(_BLOCK_BYTES // frame_bytes * frame_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        yield np.frombuffer(data[:whole], ">i2").astype(np.int16).reshape(-1, channels)
    if process.wait():
        raise FFmpegError("ffmpeg stopped before the end")
