"""The page's charts: genre bars, genres over time, and the spectrogram in musical terms."""

from collections.abc import Sequence

import librosa
import numpy as np
import plotly.graph_objects as go

from components.audio.settings import AudioSettings
from serving.client import GenrePrediction
from serving.client.tables import colour

_MOST_COLUMNS = 900
_LABEL_ROWS = 5
_OCTAVES = {f"C{octave}": 440.0 * 2 ** ((12 * (octave + 1) - 69) / 12) for octave in range(2, 10)}
# From silence through indigo and red to gold: loudness as warmth, dark enough to let it glow.
_MUSICAL_COLOURS = (
    (0.0, "#0b0c1e"),
    (0.25, "#2b1a5a"),
    (0.5, "#8d2a6b"),
    (0.72, "#e2583e"),
    (0.88, "#f9b233"),
    (1.0, "#fff6d0"),
)
_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def genre_bars(prediction: GenrePrediction) -> go.Figure:
    """Every genre's probability, the likeliest on top."""
    ranked = prediction.ranked()[::-1]
    names = [name for name, _ in ranked]
    values = [value for _, value in ranked]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker_color=[colour(name) for name in names],
            text=[f"{value:.1%}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    figure.update_layout(height=340, margin={**_MARGIN, "r": 48}, bargap=0.28, showlegend=False)
    figure.update_xaxes(range=[0, 1], visible=False)
    figure.update_yaxes(ticks="", tickfont_size=14)
    return figure


def genres_over_time(prediction: GenrePrediction) -> go.Figure:
    """How the probabilities change: one band a genre, together always one."""
    starts = prediction.window_starts_seconds
    order = np.argsort(-prediction.window_probabilities.mean(axis=0))
    figure = go.Figure()
    for index in order:
        name = prediction.genres[index]
        values = prediction.window_probabilities[:, index]
        figure.add_scatter(
            x=np.append(starts, starts[-1] + prediction.window_seconds),
            y=np.append(values, values[-1]),
            name=name,
            mode="lines",
            line={"width": 0, "shape": "hv"},
            stackgroup="genres",
            fillcolor=colour(name),
            hovertemplate=f"{name} %{{y:.0%}} at %{{x:.0f}} s<extra></extra>",
            showlegend=bool(values.max() >= 0.1),
        )
    figure.update_layout(
        height=260, margin=_MARGIN, legend={"orientation": "h", "y": -0.18}, hovermode="closest"
    )
    figure.update_xaxes(range=[0, prediction.duration_seconds], ticksuffix=" s", showgrid=False)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", showgrid=False)
    return figure


def log_mel(samples: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Mel spectrogram in decibels below its loudest bin: float32 [mel bins, frames]."""
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=settings.sample_rate_hz,
        n_fft=settings.fft_length,
        hop_length=settings.hop_length,
        n_mels=settings.mel_bins,
        htk=True,
        norm=None,
    )
    return librosa.power_to_db(power, ref=np.max, top_db=settings.top_db)


def spectrogram(samples: np.ndarray, settings: AudioSettings) -> go.Figure:
    """The log-mel spectrogram, its axis in notes."""
    decibels = log_mel(samples, settings)
    group = -(-decibels.shape[1] // _MOST_COLUMNS)
    columns = np.arange(0, decibels.shape[1], group)
    thinned = np.maximum.reduceat(decibels, columns, axis=1)
    frequencies = librosa.mel_frequencies(
        n_mels=settings.mel_bins, fmin=0, fmax=settings.sample_rate_hz / 2, htk=True
    )
    rows = np.arange(settings.mel_bins)
    notes: dict[str, float] = {}
    for name, hertz in _OCTAVES.items():
        row = float(np.interp(hertz, frequencies, rows))
        # The mel scale crowds the low octaves together: label those that have room.
        if hertz < frequencies[-1] and row - max(notes.values(), default=0.0) > _LABEL_ROWS:
            notes[name] = row
    figure = go.Figure(
        go.Heatmap(
            z=np.round(thinned).astype(np.int8),
            x=columns / settings.frames_per_second,
            y=rows,
            customdata=np.broadcast_to(np.round(frequencies)[:, np.newaxis], thinned.shape),
            colorscale=[list(stop) for stop in _MUSICAL_COLOURS],
            colorbar={"title": "dB", "thickness": 10, "outlinewidth": 0},
            hovertemplate="%{x:.1f} s, %{customdata} Hz: %{z} dB<extra></extra>",
        )
    )
    figure.update_layout(height=320, margin=_MARGIN)
    figure.update_xaxes(ticksuffix=" s", showgrid=False)
    figure.update_yaxes(tickvals=list(notes.values()), ticktext=list(notes), showgrid=False)
    return figure


def agreement(predictions: Sequence[GenrePrediction]) -> str:
    """One sentence on what two models say of the same song."""
    first, second = predictions
    best = [np.argmax(p.window_probabilities, axis=1) for p in predictions]
    windows = min(map(len, best))
    same = int(np.sum(best[0][:windows] == best[1][:windows]))
    verdict = (
        f"Both say **{first.genre}**"
        if first.genre == second.genre
        else f"They differ: **{first.genre}** and **{second.genre}**"
    )
    return f"{verdict}; they agree in {same} of {windows} windows."
