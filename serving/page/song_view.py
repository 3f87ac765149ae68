"""One song: its verdict, its player and its genres."""

import plotly.graph_objects as go
import streamlit as st
from streamlit import runtime

from serving.client import GenrePrediction, songs
from serving.client.colours import genre_colours
from serving.client.tables import clock
from serving.page import sound
from serving.page.models import KEPT_SECONDS, ModelChoice
from serving.page.player import player_html
from serving.page.sources import Song
from serving.page.text import plain

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
    picture = _picture(song.key, _song=song)
    verdict = prediction.verdict().replace(" %", "\N{NO-BREAK SPACE}%")
    st.subheader(plain(f"{song.name}: {verdict}"), anchor=False)
    channels = f"{picture.source_channels} channel{'s' if picture.source_channels > 1 else ''}"
    st.caption(
        plain(
            f"{clock(prediction.duration_seconds)} min · {picture.source_sample_rate_hz} Hz, "
            f"{channels} · {release.title(prediction.model)} · "
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
