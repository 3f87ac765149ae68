"""The models' answers, kept so that no song is sent twice."""

import pathlib
from collections.abc import Sequence

import streamlit as st

from components.common.errors import UserError
from serving.client import FileResult, GenrePrediction
from serving.page.models import KEPT_SECONDS, ModelChoice
from serving.page.sources import Song


@st.cache_data(ttl=KEPT_SECONDS, max_entries=256, show_spinner=False)
def _prediction(key: str, choice: ModelChoice, _song: Song) -> GenrePrediction:
    del key  # the song's, by which the answer is kept
    return choice.client().classify_bytes(
        _song.data, name=_song.name, version=choice.version, label=choice.label or None
    )


def ask(song: Song, choice: ModelChoice) -> FileResult:
    """Asks one model about one song."""
    try:
        return FileResult(
            pathlib.Path(song.name), prediction=_prediction(song.key, choice, _song=song)
        )
    except UserError as error:
        return FileResult(pathlib.Path(song.name), error=str(error))


def ask_all(songs: Sequence[Song], models: Sequence[ModelChoice]) -> dict[str, list[FileResult]]:
    """Asks every model about every song. Returns the answers by the songs' keys."""
    results = {}
    # Named by nothing that a song's name could turn into Markdown.
    progress = st.progress(0.0, "Listening …")
    for count, song in enumerate(songs):
        progress.progress(count / len(songs), f"Listening to song {count + 1} of {len(songs)} …")
        results[song.key] = [ask(song, choice) for choice in models]
    progress.empty()
    return results
