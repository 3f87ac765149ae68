"""Decodes files that libsndfile cannot read, by the program ffmpeg.

What a file says decides what ffmpeg opens: a playlist that is named `song.m4a` would make it fetch
addresses and read other files of this machine. So it may use the protocol `file` only, and only
formats that hold their sound themselves.
"""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

# ffmpeg's names of the formats behind `streaming.AUDIO_SUFFIXES`. None is a list of other files.
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


def is_installed() -> bool:
    """Whether the program is on PATH."""
    return shutil.which("ffmpeg") is not None


class Decoder:
    """A running ffmpeg that decodes a file's first sound to 16-bit PCM.

    Attributes:
      sample_rate_hz: The file's own rate, in hertz.
      channels: The file's own channels.
    """

    def __init__(self, path: Path):
        """Starts ffmpeg on a local file.

        Raises:
          FFmpegError: ffmpeg is not installed, or cannot read the file.
        """
        command = [
            *("ffmpeg", "-nostdin", "-v", "quiet", "-timelimit", str(_PROCESSOR_SECONDS)),
            *(*_TRUSTING_NOTHING, "-i", f"file:{path.absolute()}"),
            *("-vn", "-sn", "-dn", "-c:a", "pcm_s16be", "-f", "au", "pipe:1"),
        ]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise FFmpegError("ffmpeg cannot be started") from error
        assert self._process.stdout is not None
        self._output = self._process.stdout
        header = self._output.read(_HEADER.size)
        if len(header) < _HEADER.size:
            self.close()
            raise FFmpegError("ffmpeg cannot read it")
        _, offset, _, _, self.sample_rate_hz, self.channels = _HEADER.unpack(header)
        self._output.read(offset - _HEADER.size)  # the annotation
        if not self.sample_rate_hz or not self.channels:
            self.close()
            raise FFmpegError("it holds no sound")

    def blocks(self) -> Iterator[npt.NDArray[np.int16]]:
        """Yields the sound once, int16 [frames, channels] each.

        Raises:
          FFmpegError: ffmpeg stopped before the end.
        """
        frame_bytes = 2 * self.channels
        while data := self._output.read(_BLOCK_BYTES // frame_bytes * frame_bytes):
            whole = len(data) // frame_bytes * frame_bytes
            yield np.frombuffer(data[:whole], ">i2").astype(np.int16).reshape(-1, self.channels)
        if self._process.wait():
            raise FFmpegError("ffmpeg stopped before the end")

    def close(self) -> None:
        """Ends ffmpeg, whether it has finished or not."""
        self._process.kill()
        self._output.close()
        self._process.wait()
