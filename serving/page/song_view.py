"""One song: its verdict, its player, its genres, and the request behind it."""

import re
from collections.abc import Sequence

import streamlit as st
from streamlit import runtime

from serving.client import GenrePrediction, songs
from serving.client.colours import genre_colours
from serving.client.tables import clock
from serving.page import charts, player, snippets, sound
from serving.page.models import KEPT_SECONDS, ModelChoice
from serving.page.sources import Song
from serving.page.text import plain


@st.cache_data(ttl=KEPT_SECONDS, max_entries=32, show_spinner="Drawing the sound …")
def _picture(key: str, _song: Song) -> sound.SoundPicture:
    del key  # the song's, by which the picture is kept
    return sound.draw_sound(_song.data, _song.name, songs.SETTINGS)


@st.cache_resource(ttl=KEPT_SECONDS, max_entries=4, show_spinner="Preparing the player …")
def _playable(key: str, _song: Song) -> tuple[bytes, str]:
    del key
    return sound.playable(_song.data, _song.name, songs.SETTINGS)


def show_song(
    song: Song,
    predictions: Sequence[GenrePrediction],
    models: Sequence[ModelChoice],
    rest_url: str | None,
    *,
    beside: bool,
) -> None:
    """Draws a song.

    Args:
      song: The song.
      predictions: One for each model.
      models: The one or two models that were asked.
      rest_url: Where the server's REST API is; None for port 8501 of its machine.
      beside: Whether it stands beside another one, in half the width.

    Raises:
      UserError: The song cannot be drawn.
    """
    first, choice = predictions[0], models[0]
    colours = genre_colours(*(prediction.genres for prediction in predictions))
    titles = [
        model.release(prediction.version).title(prediction.model)
        for model, prediction in zip(models, predictions, strict=True)
    ]
    picture = _picture(song.key, _song=song)
    st.subheader(plain(f"{song.name}: {_unbroken(first.verdict())}"), anchor=False)
    channels = f"{picture.source_channels} channel{'s' if picture.source_channels > 1 else ''}"
    st.caption(
        plain(
            f"{clock(first.duration_seconds)} min · {picture.source_sample_rate_hz} Hz, {channels}"
            f" · {titles[0]} · answered in {1000 * first.call_seconds:.0f} ms"
        )
    )
    notes = {
        model.release(prediction.version).note
        for model, prediction in zip(models, predictions, strict=True)
    }
    for note in sorted(notes - {""}):
        st.warning(plain(f"This model was {note}."))
    url = _media_url(*_playable(song.key, _song=song), song)
    page = player.player_html(url, picture, predictions, titles, colours, songs.SETTINGS)
    st.iframe(page, height="content")
    if len(predictions) > 1:
        st.markdown(plain(charts.agreement(predictions)))
    columns = [st.container()] if beside else st.columns(2, gap="large")
    for position, prediction in enumerate(predictions):
        with columns[position % len(columns)]:
            st.markdown(f"##### {plain(_unbroken(titles[position]))}")
            st.plotly_chart(
                charts.genre_bars(prediction, colours),
                key=f"bars {position} {song.key}",
                config={"displayModeBar": False},
            )
    with columns[len(predictions) % len(columns)]:
        _show_request(song, choice, rest_url or _rest_url(choice), first.duration_seconds)


def _show_request(song: Song, choice: ModelChoice, rest_url: str, duration_seconds: float) -> None:
    with st.expander("Use it from Python or curl"):
        st.code(snippets.python_code(choice, song.name), language="python")
        st.text(snippets.request_note(duration_seconds))
        st.download_button(
            "Request (JSON)",
            lambda: snippets.request_body(song.data, song.name),
            file_name=snippets.request_name(song.name),
            mime="application/json",
            key=f"request {song.key}",
            on_click="ignore",
        )
        st.code(snippets.curl_command(choice, rest_url, song.name), language="bash")


def _unbroken(text: str) -> str:
    """Keeps a per cent sign with its number and a date in one piece where lines are narrow."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return re.sub(
        r"(\d{4})-(\d\d)-(\d\d)$", "\\1\N{NON-BREAKING HYPHEN}\\2\N{NON-BREAKING HYPHEN}\\3", text
    )


def _rest_url(choice: ModelChoice) -> str:
    scheme = "http" if choice.tls is None else "https"
    return f"{scheme}://{choice.server.rpartition(':')[0] or choice.server}:8501"


def _media_url(data: bytes, kind: str, song: Song) -> str:
    """Where the browser gets a sound: a file of its own, since a data: URL would be held thrice."""
    files = runtime.get_instance().media_file_mgr
    # Relative, so that it holds behind a proxy that puts the page into a folder.
    return files.add(data, kind, f"player {song.key}").lstrip("/")
