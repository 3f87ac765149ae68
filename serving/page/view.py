"""What the page shows, from top to bottom."""

import argparse

import streamlit as st

from components.common.errors import UserError
from serving.client import FileResult
from serving.page.models import ModelChoice, choose_models
from serving.page.results import ask_all
from serving.page.song_view import show_song
from serving.page.songs_table import choose_from_table
from serving.page.sources import Song, choose_songs
from serving.page.text import plain


def render(defaults: argparse.Namespace) -> None:
    """Draws the page; Streamlit calls for it at every interaction.

    Args:
      defaults: The flags of `serving.app`: what the page asks until it is told otherwise.
    """
    st.set_page_config("Gatefold", page_icon="🎶", layout="wide")
    st.title("What does it sound like?", anchor=False)
    st.markdown("Drop a song, and a model says what genre it is, three seconds at a time.")
    server, models = choose_models(defaults)
    brought = choose_songs()
    if not brought:
        return
    if not models:
        st.error(plain(f"No model answers at {server}: start one with `make serve`."))
        return
    results = ask_all(brought, models)
    shown = brought if len(brought) == 1 else choose_from_table(brought, results, models)
    columns = st.columns(len(shown), gap="large") if len(shown) > 1 else [st.container()]
    for column, song in zip(columns, shown, strict=True):
        with column:
            _show(song, results[song.key], models, defaults.rest, beside=len(shown) > 1)


def _show(
    song: Song,
    answers: list[FileResult],
    models: list[ModelChoice],
    rest_url: str | None,
    *,
    beside: bool,
) -> None:
    errors = [answer.error for answer in answers if answer.prediction is None]
    if errors:
        st.error(plain(errors[0]))
        return
    predictions = [answer.prediction for answer in answers if answer.prediction is not None]
    try:
        show_song(song, predictions, models, rest_url, beside=beside)
    except UserError as error:
        st.error(plain(str(error)))
