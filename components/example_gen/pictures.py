"""Draws a track for the ingest report: waveform, log-mel spectrogram and MFCC."""

import colorsys
import dataclasses
import io
from collections.abc import Sequence

import librosa
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from components.audio import codec, spectral
from components.example_gen.settings import IngestSettings

_COLUMNS = 900  # of the drawn waveform
_HOP_FACTOR = 3  # a picture needs fewer frames than a model
_PAPER, _INK, _FAINT = "#17141c", "#efe7da", "#8d8496"
_COLD_TO_WARM = LinearSegmentedColormap.from_list(
    "cold_to_warm", ["#8fd3ff", "#3568b8", _PAPER, "#c2562d", "#ffd08a"]
)


def colour(genre: str, genres: Sequence[str]) -> str:
    """Chooses a genre's colour: hues evenly spaced, of equal saturation and brightness.

    Args:
      genre: One of `genres`.
      genres: All of them, in label order.

    Returns:
      A hexadecimal colour.
    """
    hue = list(genres).index(genre) / len(genres)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.52, 0.92)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def draw(data: bytes, *, name: str, genre: str, settings: IngestSettings) -> bytes:
    """Draws a track.

    Spectrogram and MFCC are the features that models read, of fewer frames. (librosa's own would
    compile its code for 20 s the first time on a machine.)

    Args:
      data: The audio file's bytes.
      name: Name of the file, for errors.
      genre: Chooses the colours.
      settings: Rate, length and analysis settings.

    Returns:
      A WebP file.
    """
    audio = settings.audio
    sound = codec.decode(
        data, name=name, sample_rate_hz=audio.sample_rate_hz, middle_seconds=audio.clip_seconds
    )
    clip = codec.take_clips(sound.samples, audio.clip_samples)
    samples = np.pad(clip, (0, max(0, audio.clip_samples - len(clip))))[: audio.clip_samples]
    coarse = dataclasses.replace(audio, hop_length=audio.hop_length * _HOP_FACTOR)
    level_db = spectral.log_mel(spectral.magnitudes(samples, coarse), coarse)
    log_mel, mfcc = (np.transpose(each) for each in (level_db, spectral.mfcc(level_db, coarse)))
    bright = colour(genre, settings.genres)
    ramp = LinearSegmentedColormap.from_list(
        genre, [(0.0, _PAPER), (0.35, _PAPER), (0.8, bright), (1.0, "#fffaf0")]
    )

    # Laid out by hand and drawn as images: librosa.display draws meshes, and each figure several
    # times, which takes ten times as long.
    figure = Figure(figsize=(6.4, 3.9), dpi=100, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    waves, mels, cepstrum = figure.subplots(
        3,
        1,
        height_ratios=[2, 4, 2.4],
        gridspec_kw={"left": 0.095, "right": 0.985, "top": 0.98, "bottom": 0.07, "hspace": 0.08},
    )
    columns = samples[: len(samples) // _COLUMNS * _COLUMNS].reshape(_COLUMNS, -1)
    seconds = np.linspace(0, audio.clip_seconds, _COLUMNS)
    waves.fill_between(seconds, columns.min(axis=1), columns.max(axis=1), color=bright, lw=0.4)
    waves.set_ylim(-1.05, 1.05)
    waves.set_yticks([-1, 0, 1])
    extent = (0.0, float(audio.clip_seconds), 0.0, 1.0)
    mels.imshow(log_mel, origin="lower", aspect="auto", extent=extent, cmap=ramp)
    centres = librosa.mel_frequencies(audio.mel_bins, fmax=audio.sample_rate_hz / 2)
    rows = [np.searchsorted(centres, hertz) / audio.mel_bins for hertz in (128, 512, 2048, 8192)]
    mels.set_yticks(rows, ["128", "512", "2k", "8k"])
    # The zeroth coefficient is the loudness; its range would leave the others one colour.
    cepstrum.imshow(
        mfcc[1:],
        origin="lower",
        aspect="auto",
        extent=extent,
        interpolation="nearest",
        cmap=_COLD_TO_WARM,
        vmin=-60,
        vmax=60,
    )
    shown = [number for number in (5, 10, 15) if number < len(mfcc)]
    cepstrum.set_yticks([(n - 0.5) / (len(mfcc) - 1) for n in shown], [str(n) for n in shown])
    for axes, title in ((waves, "waveform"), (mels, "log-mel, Hz"), (cepstrum, "MFCC")):
        axes.set_facecolor(_PAPER)
        axes.set_xlim(0, audio.clip_seconds)
        axes.set_xticks([])
        axes.set_ylabel(title, color=_INK, fontsize=8)
        axes.yaxis.set_label_coords(-0.065, 0.5)
        axes.tick_params(colors=_FAINT, labelsize=7, length=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
    marks = range(0, audio.clip_seconds + 1, max(1, audio.clip_seconds // 6))
    cepstrum.set_xticks(marks, [f"{second} s" for second in marks])
    image = io.BytesIO()
    figure.savefig(image, format="webp", facecolor=_PAPER, pil_kwargs={"quality": 82})
    return image.getvalue()
