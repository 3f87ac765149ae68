"""What the page shows, from top to bottom."""

import argparse
import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from components.common.errors import UserError
from serving.client import FileResult, GenrePrediction
from serving.client.output import CSV_COLUMNS, csv_row
from serving.client.tables import clock, runners_up
from serving.page.models import KEPT_SECONDS, ModelChoice, choose_model
from serving.page.song_view import show_song
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
    server, choice = choose_model(defaults)
    brought = choose_songs()
    if not brought:
        return
    if choice is None:
        st.error(plain(f"No model answers at {server}: start one with `make serve`."))
        return
    results = _ask_all(brought, choice)
    answered = {}
    for song in brought:
        if (prediction := results[song.key].prediction) is None:
            st.error(plain(results[song.key].error))
        else:
            answered[song] = prediction
    if len(brought) > 1:
        _show_table(answered)
        _offer_csv([results[song.key] for song in brought], choice)
    if not answered:
        return
    song = next(iter(answered)) if len(answered) == 1 else _choose(list(answered))
    try:
        show_song(song, answered[song], choice)
    except UserError as error:
        st.error(plain(str(error)))


@st.cache_data(ttl=KEPT_SECONDS, max_entries=256, show_spinner=False)
def _prediction(key: str, choice: ModelChoice, _song: Song) -> GenrePrediction:
    del key  # the song's, by which the answer is kept
    return choice.client().classify_bytes(_song.data, name=_song.name)


def _ask_all(songs: Sequence[Song], choice: ModelChoice) -> dict[str, FileResult]:
    """Asks the model about every song. Returns the answers by the songs' keys."""
    results = {}
    # Named by nothing that a song's name could turn into Markdown.
    progress = st.progress(0.0, "Listening …")
    for count, song in enumerate(songs):
        progress.progress(count / len(songs), f"Listening to song {count + 1} of {len(songs)} …")
        path = pathlib.Path(song.name)
        try:
            results[song.key] = FileResult(path, _prediction(song.key, choice, _song=song))
        except UserError as error:
            results[song.key] = FileResult(path, error=str(error))
    progress.empty()
    return results


def _show_table(answered: Mapping[Song, GenrePrediction]) -> None:
    rows = [
        {
            "song": song.name,
            "genre": prediction.genre,
            "sure": 100 * prediction.probability,
            "or else": runners_up(prediction),
            "length": clock(prediction.duration_seconds),
        }
        for song, prediction in answered.items()
    ]
    percent = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"sure": percent})


def _offer_csv(results: Sequence[FileResult], choice: ModelChoice) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(csv_row(result, choice.release()) for result in results)
    st.download_button(
        "Download CSV", table.getvalue(), "genres.csv", "text/csv", on_click="ignore"
    )


def _choose(songs: Sequence[Song]) -> Song:
    number = st.selectbox(
        "Look at",
        range(len(songs)),
        format_func=lambda number: f"{number + 1}. {songs[number].name}",
    )
    return songs[number]
