"""One song: its verdict, its player and its genres.

Streamlit's own player does not say where in the sound it is. So the player is a small page of its
own (player.html) that is given its data as JSON: sound, waveform, genres over time and spectrogram,
with one playhead through all.
"""

import base64
import json
import pathlib
from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st
from streamlit import runtime

from components.audio.settings import AudioSettings
from serving.client import GenrePrediction, songs
from serving.client.colours import genre_colours
from serving.client.tables import clock
from serving.page import sound
from serving.page.models import KEPT_SECONDS, ModelChoice
from serving.page.sources import Song
from serving.page.text import plain

_PLAYER = pathlib.Path(__file__).with_name("player.html")
_DATA_MARK = "/*DATA*/null"
_MOST_BARS = 12
_BAR_PIXELS = 29
_LONGEST_NAME = 24


@st.cache_data(ttl=KEPT_SECONDS, max_entries=32, show_spinner="Drawing the sound …")
def _picture(key: str, _song: Song) -> sound.SoundPicture:
    del key  # the song's, by which the picture is kept
    return sound.draw_sound(_song.data, _song.name, songs.SETTINGS)


@st.cache_resource(ttl=KEPT_SECONDS, max_entries=4, show_spinner="Preparing the player …")
def _playable(key: str, _song: Song) -> tuple[bytes, str]:
    del key
    return sound.playable(_song.data, _song.name, songs.SETTINGS)


def show_song(song: Song, prediction: GenrePrediction, choice: ModelChoice) -> None:
    """Draws a song.

    Args:
      song: The song.
      prediction: What the model says of it.
      choice: The version that was asked.

    Raises:
      UserError: The song cannot be drawn.
    """
    colours, release = genre_colours(prediction.genres), choice.release()
    length = clock(prediction.duration_seconds)
    picture = _picture(song.key, _song=song)
    verdict = prediction.verdict().replace(" %", "\N{NO-BREAK SPACE}%")
    st.subheader(plain(f"{song.name}: {verdict}"), anchor=False)
    st.caption(
        plain(
            f"The whole song, {length} · {release.title(prediction.model)} · "
            f"answered in {1000 * prediction.call_seconds:.0f} ms"
        )
    )
    if release.note:
        st.warning(plain(f"This model was {release.note}."))
    url = _media_url(*_playable(song.key, _song=song), song)
    st.iframe(player_html(url, picture, prediction, colours, songs.SETTINGS), height="content")
    st.plotly_chart(
        genre_bars(prediction, colours), key=f"bars {song.key}", config={"displayModeBar": False}
    )


def player_html(
    url: str,
    picture: sound.SoundPicture,
    prediction: GenrePrediction,
    colours: Mapping[str, str],
    settings: AudioSettings,
) -> str:
    """The player's page.

    Args:
      url: Where the sound is.
      picture: What it looks like.
      prediction: Its genres over time.
      colours: Of every genre, as #rrggbb.
      settings: The analysis settings.
    """
    png = base64.b64encode(picture.spectrogram_png).decode()
    mean = prediction.window_probabilities.mean(axis=0)
    windows = zip(prediction.timeline(), prediction.window_probabilities.tolist(), strict=True)
    data = {
        "sound": url,
        "seconds": picture.duration_seconds,
        "peaks": picture.peaks,
        "picture": f"data:image/png;base64,{png}",
        "notes": sound.note_heights(settings),
        "colours": dict(colours),
        "length": prediction.window_seconds,
        "order": [prediction.genres[i] for i in (-mean).argsort()],
        "windows": [
            {
                "start": round(start, 3),
                "genre": genre,
                "probability": round(probability, 4),
                "all": {
                    name: round(value, 3)
                    for name, value in zip(prediction.genres, values, strict=True)
                },
            }
            for (start, genre, probability), values in windows
        ],
    }
    # "</" would end the script element, and "<!--" begin a comment, whatever string they stand in.
    text = json.dumps(data).replace("<", "\\u003c")
    return _PLAYER.read_text(encoding="utf-8").replace(_DATA_MARK, text)


def genre_bars(prediction: GenrePrediction, colours: dict[str, str]) -> go.Figure:
    """The probabilities of the likeliest genres (at most 12), the likeliest on top."""
    ranked = prediction.ranked()[:_MOST_BARS][::-1]
    names = [_html(name) for name, _ in ranked]
    ticks = [_html(_shortened(name)) for name, _ in ranked]
    figure = go.Figure(
        go.Bar(
            x=[value for _, value in ranked],
            y=list(range(len(names))),
            orientation="h",
            marker_color=[colours[name] for name, _ in ranked],
            text=[f"{100 * value:.1f} %" for _, value in ranked],
            textposition="outside",
            cliponaxis=False,
            customdata=names,
            hovertemplate="%{customdata}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(
        height=40 + _BAR_PIXELS * len(names),
        margin={"l": 8, "r": 56, "t": 8, "b": 8},
        bargap=0.28,
        showlegend=False,
    )
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(
        ticks="",
        tickfont_size=14,
        tickvals=list(range(len(names))),
        ticktext=ticks,
        fixedrange=True,
    )
    return figure


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _html(name: str) -> str:
    """A name that plotly, which reads a few HTML tags, shows as it is."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _media_url(data: bytes, kind: str, song: Song) -> str:
    """Where the browser gets a sound: a file of its own, since a data: URL would be held thrice."""
    files = runtime.get_instance().media_file_mgr
    # Relative, so that it holds behind a proxy that puts the page into a folder.
    return files.add(data, kind, f"player {song.key}").lstrip("/")
