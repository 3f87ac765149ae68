"""The ways to bring songs to the page."""

import dataclasses

import streamlit as st

from components.audio import codec
from components.gtzan.composer import compose_track
from components.gtzan.styles import STYLES
from serving.client import songs
from serving.page.models import KEPT_SECONDS
from serving.page.text import plain

_EXAMPLE_INDEX = 900  # far from the tracks that the sample's training sees
_WAYS = ("Drop songs", "Record", "Examples")


@dataclasses.dataclass(frozen=True)
class Song:
    """A song that somebody brought.

    Attributes:
      key: Names its content, so that what is computed of it is kept by this name.
      name: Its file's name.
      data: The file's content.
    """

    key: str
    name: str
    data: bytes = dataclasses.field(repr=False)


@st.cache_data(ttl=KEPT_SECONDS, max_entries=8, show_spinner="Composing an example …")
def _example(genre: str) -> bytes:
    samples = compose_track(genre, _EXAMPLE_INDEX, 0)
    return codec.encode_wav(samples, songs.SETTINGS.sample_rate_hz)


def choose_songs() -> list[Song]:
    """Draws the ways to bring songs. Returns them; none until some are brought."""
    # A link names its example alone: `?example=jazz`.
    start = _WAYS[2] if "example" in st.query_params else _WAYS[0]
    way = st.segmented_control(
        "Source", _WAYS, default=start, key="source", label_visibility="collapsed"
    )
    if way == "Examples":
        st.caption(
            "Composed by Gatefold in the manner of each genre: synthetic, not real music. "
            "`gatefold run --data FOLDER` makes a model of yours."
        )
        genre = st.pills("Example", [*STYLES], key="example", bind="query-params")
        if genre is None:
            return []
        st.caption(f"[Link to this example](?example={genre})")
        return [Song(f"example {genre}", f"{genre}-example.wav", _example(genre))]
    if way == "Record":
        recorded = st.audio_input("Three seconds or more", sample_rate=48_000)
        if recorded is None:
            return []
        return [Song(recorded.file_id, "recording.wav", recorded.getvalue())]
    suffixes = plain(" ".join(songs.SUFFIXES))
    dropped = st.file_uploader(
        f"One song or several ({suffixes}), three seconds or more", accept_multiple_files=True
    )
    return [Song(file.file_id, file.name, file.getvalue()) for file in dropped]
