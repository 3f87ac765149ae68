"""Songs as a model takes them: found in folders, read in blocks, cut into parts."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import soxr

from components.audio import codec, loudness, streaming
from components.audio.settings import AudioSettings, is_usual
from components.common.errors import UserError

SUFFIXES = streaming.SUFFIXES
SETTINGS = AudioSettings()
# A model takes sound in clips of 30 s, so a part ends where a clip does. A part has at most ten
# clips, fewer at high rates: 13 MB as 16-bit WAV, under any server's limit.
CLIPS_A_PART = 10
PART_SAMPLES = CLIPS_A_PART * SETTINGS.clip_samples
# Float sound overshoots full scale by a little; 16-bit values handed in as float do by far.
_LARGEST_PEAK = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """An opened song.

    Attributes:
      sample_rate_hz: The rate of its parts, in hertz.
      samples: The parts, float32 [n] each, mono.
    """

    sample_rate_hz: int
    samples: Iterator[np.ndarray]


# Opens a song at a rate in hertz, by default its own where releases take that.
OpenParts = Callable[[int | None], AbstractContextManager[Parts]]


def find_songs(songs: Sequence[pathlib.Path]) -> Iterator[pathlib.Path]:
    """The files that are named, and those under the folders that are named, in order.

    Hidden files in folders are passed over: macOS leaves a `._song.mp3` beside every song.

    Raises:
      UserError: A folder holds no audio files.
    """
    for song in songs:
        if not song.is_dir():
            yield song
            continue
        paths = (pathlib.Path(at, name) for at, _, names in os.walk(song) for name in names)
        inside = sorted(filter(_is_song, paths))
        if not inside:
            raise UserError(f"{printable(song)} holds no audio files ({' '.join(SUFFIXES)})")
        yield from inside


def _is_song(path: pathlib.Path) -> bool:
    if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
        return False
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be entered
        return False


def printable(name: str | os.PathLike[str]) -> str:
    """A file's name as it can be shown: control characters and bytes that are not UTF-8 escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in os.fspath(name)
    )


def file_parts(path: pathlib.Path) -> OpenParts:
    """The parts of an audio file of any length, read from disk as they are asked for."""

    @contextlib.contextmanager
    def open_parts(sample_rate_hz: int | None) -> Iterator[Parts]:
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            with _opened(path, printable(path), sample_rate_hz) as parts:
                yield parts
        except OSError as error:
            raise UserError(
                f"{printable(path)} cannot be read: {error.strerror or error}"
            ) from error

    return open_parts


def byte_parts(data: bytes, *, name: str) -> OpenParts:
    """The parts of an audio file's content; `name` is what errors call it."""
    return lambda sample_rate_hz: _opened(data, printable(name), sample_rate_hz)


def sample_parts(samples: npt.ArrayLike, *, name: str) -> OpenParts:
    """The parts of mono samples in [-1, 1] at 22 050 Hz.

    Raises:
      UserError: They are not mono, not finite, or not in [-1, 1].
    """
    array = np.asarray(samples)
    mono = array.astype(np.float32, copy=False)
    peak = float(np.abs(mono).max(initial=0.0))
    if array.ndim != 1 or array.dtype.kind != "f" or not peak <= _LARGEST_PEAK:
        raise UserError(
            f"{name}: samples must be mono, [n], finite floats in [-1, 1]; divide 16-bit values by "
            f"32768. Received: {array.dtype} {list(array.shape)}, values up to {peak:g}"
        )
    rate = SETTINGS.sample_rate_hz
    return lambda _: contextlib.nullcontext(Parts(rate, cut([mono], rate, name=name)))


def cut(blocks: Iterable[np.ndarray], sample_rate_hz: int, *, name: str) -> Iterator[np.ndarray]:
    """Cuts a sound into parts of whole clips.

    What is left at the end and too short to be classified stays with the part before it.

    Args:
      blocks: float32 [n] each, mono.
      sample_rate_hz: Their rate, in hertz.
      name: What to call the sound in an error.

    Raises:
      UserError: The sound is under three seconds long.
    """
    at_rate = dataclasses.replace(SETTINGS, sample_rate_hz=sample_rate_hz)
    shortest, clips = at_rate.minimum_samples, PART_SAMPLES // at_rate.clip_samples
    part_samples = min(CLIPS_A_PART, clips) * at_rate.clip_samples
    buffer = np.empty(part_samples + shortest, np.float32)
    count = total = 0
    for block in blocks:
        total += len(block)
        while len(block):
            taken = min(len(block), len(buffer) - count)
            buffer[count : count + taken] = block[:taken]
            block = block[taken:]
            count += taken
            if count == len(buffer):
                yield buffer[:part_samples]
                rest, buffer = buffer[part_samples:], np.empty_like(buffer)
                buffer[:shortest] = rest
                count = shortest
    if total < shortest:
        raise UserError(
            f"{name} is too short: at least {SETTINGS.window_seconds:g} s are needed. "
            f"Received: {total / sample_rate_hz:.2f} s"
        )
    yield buffer[:count]


def is_silent(part: np.ndarray, sample_rate_hz: int) -> bool:
    """Whether a part has no clip that a model answers about: what it hears counts."""
    if sample_rate_hz != SETTINGS.sample_rate_hz:
        part = soxr.resample(part, sample_rate_hz, SETTINGS.sample_rate_hz, quality="LQ")
    return loudness.is_silent(part, SETTINGS)


@contextlib.contextmanager
def _opened(source: pathlib.Path | bytes, name: str, sample_rate_hz: int | None) -> Iterator[Parts]:
    try:
        with streaming.open_sound(source, name=name) as sound:
            own = sound.source_sample_rate_hz
            rate = sample_rate_hz or (own if is_usual(own) else SETTINGS.sample_rate_hz)
            yield Parts(rate, cut(sound.blocks(rate), rate, name=name))
    except codec.AudioError as error:
        raise UserError(str(error)) from error
