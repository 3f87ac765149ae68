"""What the page shows, from top to bottom."""

import argparse
import pathlib
from collections.abc import Sequence

import streamlit as st

from components.common.errors import UserError
from serving.client import FileResult, GenrePrediction
from serving.page.models import KEPT_SECONDS, ModelChoice, choose_models
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
    results = _ask_all(brought, models)
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


@st.cache_data(ttl=KEPT_SECONDS, max_entries=256, show_spinner=False)
def _prediction(key: str, choice: ModelChoice, _song: Song) -> GenrePrediction:
    del key  # the song's, by which the answer is kept
    return choice.client().classify_bytes(
        _song.data, name=_song.name, version=choice.version, label=choice.label or None
    )


def _ask(song: Song, choice: ModelChoice) -> FileResult:
    """Asks one model about one song."""
    try:
        return FileResult(
            pathlib.Path(song.name), prediction=_prediction(song.key, choice, _song=song)
        )
    except UserError as error:
        return FileResult(pathlib.Path(song.name), error=str(error))


def _ask_all(songs: Sequence[Song], models: Sequence[ModelChoice]) -> dict[str, list[FileResult]]:
    """Asks every model about every song. Returns the answers by the songs' keys."""
    results = {}
    # Named by nothing that a song's name could turn into Markdown.
    progress = st.progress(0.0, "Listening …")
    for count, song in enumerate(songs):
        progress.progress(count / len(songs), f"Listening to song {count + 1} of {len(songs)} …")
        results[song.key] = [_ask(song, choice) for choice in models]
    progress.empty()
    return results
