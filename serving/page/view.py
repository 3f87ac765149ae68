"""What the page shows, from top to bottom."""

import argparse
from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from components.audio import codec
from components.audio.settings import AudioSettings
from components.errors import UserError
from components.gtzan.composer import compose_track
from components.gtzan.genres import GENRES
from serving.client import GenreClient, GenrePrediction
from serving.page import charts, player

_SETTINGS = AudioSettings()
_EXAMPLE_INDEX = 900  # far from the tracks that the sample's training sees
_KEPT_MINUTES = 30


@st.cache_resource(ttl=60 * _KEPT_MINUTES, show_spinner=False)
def _client(server: str, model: str, version: int | None) -> GenreClient:
    return GenreClient(server, model=model, version=version, timeout_seconds=60, attempts=3)


@st.cache_data(ttl=60 * _KEPT_MINUTES, max_entries=8, show_spinner="Composing an example …")
def _example(genre: str) -> bytes:
    return codec.encode_wav(compose_track(genre, _EXAMPLE_INDEX, 0), _SETTINGS.sample_rate_hz)


@st.cache_data(max_entries=8, show_spinner="Reading the sound …")
def _decoded(data: bytes, name: str) -> codec.DecodedAudio:
    return codec.decode(data, name=name, sample_rate_hz=_SETTINGS.sample_rate_hz)


@st.cache_data(ttl=60 * _KEPT_MINUTES, max_entries=32, show_spinner="Listening …")
def _predicted(
    data: bytes, name: str, server: str, model: str, version: int | None
) -> GenrePrediction:
    samples = _decoded(data, name).samples
    return _client(server, model, version).classify_samples(samples, name=name)


def _versions(server: str, model: str) -> list[int]:
    """The versions of a model that can be asked; says in the sidebar why there are none."""
    try:
        listed = _client(server, model, None).versions()
    except UserError as error:
        st.sidebar.error(str(error))
        return []
    numbers = [version.number for version in listed if version.state == "AVAILABLE"]
    if not numbers:
        st.sidebar.warning(f"{model} has no version that serves yet.")
    return numbers


def _choose_model(defaults: argparse.Namespace) -> tuple[str, list[tuple[str, int]]]:
    """The sidebar: the server and the one or two models to ask."""
    st.sidebar.header("Model")
    server = st.sidebar.text_input("Server", defaults.server, help="host:port of the gRPC API")
    name = st.sidebar.text_input("Name", defaults.model)
    numbers = _versions(server, name)
    if not numbers:
        return server, []
    chosen = [(name, st.sidebar.selectbox("Version", numbers, format_func=_version_name(numbers)))]
    if st.sidebar.toggle("Compare with another", help="Two versions, or two models"):
        other = st.sidebar.text_input("Its name", name, key="other-name")
        others = numbers if other == name else _versions(server, other)
        if others:
            start = 1 if other == name and len(others) > 1 else 0
            number = st.sidebar.selectbox(
                "Its version", others, start, format_func=_version_name(others), key="other"
            )
            chosen.append((other, number))
    return server, chosen


def _version_name(numbers: list[int]) -> Callable[[int], str]:
    return lambda number: f"{number} (latest)" if number == numbers[0] else str(number)


def _choose_song() -> tuple[bytes, str] | None:
    """The three ways to bring a song. Returns its bytes and name, or None until one is chosen."""
    ways = ["Drop a song", "Record", "Examples"]
    way = st.segmented_control("Source", ways, default=ways[0], label_visibility="collapsed")
    if way == "Record":
        recorded = st.audio_input("Three seconds or more", sample_rate=48_000)
        return (recorded.getvalue(), "recording.wav") if recorded else None
    if way == "Examples":
        st.caption("Composed by Gatefold in the manner of each genre: synthetic, not real music.")
        genre = st.pills("Example", GENRES, label_visibility="collapsed")
        return (_example(genre), f"{genre}-example.wav") if genre else None
    dropped = st.file_uploader(
        "WAV, MP3, FLAC, Ogg or AU, three seconds or more", label_visibility="visible"
    )
    return (dropped.getvalue(), dropped.name) if dropped else None


def _show(data: bytes, name: str, predictions: list[GenrePrediction]) -> None:
    decoded = _decoded(data, name)
    first = predictions[0]
    minutes, seconds = divmod(round(first.duration_seconds), 60)
    st.subheader(f"{name}: {first.genre}, {first.probability:.0%}", anchor=False)
    st.caption(
        f"{minutes}:{seconds:02d} min · {decoded.source_sample_rate_hz} Hz, "
        f"{decoded.source_channels} channel{'s' if decoded.source_channels > 1 else ''} · "
        f"{first.model} version {first.version} answered in {first.call_seconds * 1000:.0f} ms"
    )
    url = player.sound_url(data, name, decoded.samples, _SETTINGS.sample_rate_hz)
    page = player.player_html(url, decoded.samples, predictions)
    st.iframe(page, height=player.player_height(len(predictions)))
    if len(predictions) > 1:
        st.markdown(charts.agreement(predictions))
    if len(predictions) == 1:
        left, right = st.columns((2, 3), gap="large")
        _show_genres(left, right, first, position=0)
    else:
        for position, column in enumerate(st.columns(len(predictions), gap="large")):
            _show_genres(column, column, predictions[position], position=position)
    st.markdown("#### Spectrogram")
    picture = charts.spectrogram(decoded.samples, _SETTINGS)
    st.plotly_chart(picture, key="spectrogram", config={"displayModeBar": False})


def _show_genres(
    bars: DeltaGenerator, course: DeltaGenerator, prediction: GenrePrediction, *, position: int
) -> None:
    still = {"displayModeBar": False}
    bars.markdown(f"#### {prediction.model} {prediction.version}")
    bars.plotly_chart(charts.genre_bars(prediction), key=f"bars{position}", config=still)
    course.markdown("#### Over time")
    course.plotly_chart(charts.genres_over_time(prediction), key=f"course{position}", config=still)


def render(defaults: argparse.Namespace) -> None:
    """Draws the page; Streamlit calls for it at every interaction.

    Args:
      defaults: `server` and `model`, what the page asks until it is told otherwise.
    """
    st.set_page_config("Gatefold", page_icon="🎶", layout="wide")
    st.title("What does it sound like?", anchor=False)
    st.markdown("Drop a song, and a model says what genre it is, three seconds at a time.")
    server, models = _choose_model(defaults)
    song = _choose_song()
    if song is None:
        return
    if not models:
        st.error(f"No model answers at {server}: start one with `make serve`.")
        return
    data, name = song
    try:
        predictions = [_predicted(data, name, server, *model) for model in models]
    except (codec.AudioError, UserError) as error:
        st.error(str(error))
        return
    _show(data, name, predictions)
