"""What the page shows of a sound itself, in one pass over it, block by block.

A song of half an hour takes 160 MB as samples, so no more than a part of it is ever held.
"""

import dataclasses
import io
import pathlib

import librosa
import matplotlib
import numpy as np
import soundfile
from PIL import Image

from components.audio import streaming
from components.audio.settings import AudioSettings
from serving.client import songs

_PEAKS = 800
_MOST_COLUMNS = 1200
# Labels of the frequency axis stand at least this far apart, as a part of its height.
_LEAST_LABEL_GAP = 0.085
# What every browser plays as it is; other formats go as FLAC.
_PLAYABLE = {
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}


@dataclasses.dataclass(frozen=True)
class SoundPicture:
    """A sound to look at.

    Attributes:
      duration_seconds: Its length.
      peaks: Largest magnitude in each of equal parts, relative to the loudest, 0 to 1.
      spectrogram_png: Its log-mel spectrogram, low frequencies at the bottom.
    """

    duration_seconds: float
    peaks: tuple[float, ...]
    spectrogram_png: bytes


def draw_sound(data: bytes, name: str, settings: AudioSettings) -> SoundPicture:
    """Draws an audio file's content.

    Raises:
      UserError: It is no music of three seconds or more.
    """
    levels: list[np.ndarray] = []
    magnitudes: list[np.ndarray] = []
    samples = 0
    margin = settings.fft_length // 2
    before = np.zeros(margin, np.float32)
    with songs.byte_parts(data, name=name)(settings.sample_rate_hz) as parts:
        for part in parts.samples:
            samples += len(part)
            # Frames at a clip's edges see the sound beyond it, so that the picture has no seams.
            padded = np.concatenate([before, part, np.zeros(margin, np.float32)])
            for start in range(0, len(part), settings.clip_samples):
                clip = part[start : start + settings.clip_samples]
                # Half precision is enough for a picture, and an hour takes 40 MB.
                around = padded[start : start + len(clip) + 2 * margin]
                levels.append(_mel_decibels(around, settings).astype(np.float16))
                magnitudes.append(peaks(clip, settings.frames_in(len(clip))))
            before = part[-margin:]
    highest = peaks(np.concatenate(magnitudes), _PEAKS)
    return SoundPicture(
        duration_seconds=samples / settings.sample_rate_hz,
        peaks=tuple(np.round(highest / max(float(highest.max()), 1e-6), 3).tolist()),
        spectrogram_png=_png(np.concatenate(levels, axis=1), settings.top_db),
    )


def peaks(samples: np.ndarray, count: int) -> np.ndarray:
    """The largest magnitude in each of `count` equal parts: [count], or fewer for fewer samples."""
    edges = np.unique(np.linspace(0, len(samples), count, endpoint=False).astype(int))
    return np.maximum.reduceat(np.abs(samples), edges)


def note_heights(settings: AudioSettings) -> list[tuple[str, float]]:
    """Names of notes and where they are on the spectrogram's axis, 0 (bottom) to 1.

    The mel scale crowds the low octaves together: only those that have room are named.
    """
    frequencies = librosa.mel_frequencies(
        n_mels=settings.mel_bins, fmin=0, fmax=settings.sample_rate_hz / 2, htk=True
    )
    rows = (np.arange(settings.mel_bins) + 0.5) / settings.mel_bins
    notes: list[tuple[str, float]] = []
    for name in (f"C{octave}" for octave in range(2, 10)):
        hertz = float(librosa.note_to_hz(name))
        height = float(np.interp(hertz, frequencies, rows))
        lowest = notes[-1][1] + _LEAST_LABEL_GAP if notes else _LEAST_LABEL_GAP / 2
        if hertz < frequencies[-1] and height >= lowest:
            notes.append((name, height))
    return notes


def playable(data: bytes, name: str, settings: AudioSettings) -> tuple[bytes, str]:
    """A file's content as every browser plays it, and its media type."""
    kind = _PLAYABLE.get(pathlib.PurePath(name).suffix.lower())
    if kind is not None:
        return data, kind
    rate, encoded = settings.sample_rate_hz, io.BytesIO()
    with (
        streaming.open_sound(data, name=name) as sound,
        soundfile.SoundFile(encoded, "w", rate, 1, "PCM_16", format="FLAC") as file,
    ):
        for block in sound.blocks(rate):
            file.write(block)
    return encoded.getvalue(), "audio/flac"


def _mel_decibels(padded: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Mel spectrogram in decibels of sound with half a frame more at both ends: [mels, frames]."""
    power = librosa.feature.melspectrogram(
        y=padded,
        sr=settings.sample_rate_hz,
        n_fft=settings.fft_length,
        hop_length=settings.hop_length,
        center=False,
        n_mels=settings.mel_bins,
        htk=True,
        norm=None,
    )
    return librosa.power_to_db(power, top_db=None)


def _png(decibels: np.ndarray, top_db: float) -> bytes:
    """A picture of decibels [mel bins, frames], down to `top_db` below the loudest."""
    group = -(-decibels.shape[1] // _MOST_COLUMNS)
    thinned = np.maximum.reduceat(decibels, np.arange(0, decibels.shape[1], group), axis=1)
    loudness = np.clip((thinned.astype(np.float32) - float(thinned.max())) / top_db + 1, 0, 1)
    image = Image.fromarray(np.round(255 * loudness[::-1]).astype(np.uint8), mode="P")
    image.putpalette(matplotlib.colormaps["inferno"](np.arange(256), bytes=True)[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
