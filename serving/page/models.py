"""The sidebar: which server, which models, and what they were trained on."""

import argparse
import dataclasses
import ipaddress
import json
import pathlib
from collections.abc import Sequence

import streamlit as st

from components.common.errors import UserError
from components.common.releases import Release
from serving.client import GenreClient, Tls
from serving.client.cli import find_release, read_tls
from serving.page.text import plain

KEPT_SECONDS = 30 * 60
_LATEST_SECONDS = 5  # how long a list of versions is believed


@dataclasses.dataclass(frozen=True)
class ModelChoice:
    """A model to ask.

    Attributes:
      server: "host:port" of gRPC.
      model: Name of the served model.
      version: The version; None where a label says which.
      label: The version's label; empty where its number is given.
      tls: Encryption; None for plain text.
      releases: The folder that versions are pushed to; None where it is not known.
    """

    server: str
    model: str
    version: int | None
    label: str
    tls: Tls | None
    releases: pathlib.Path | None

    def client(self) -> GenreClient:
        """A client of this server and model, shared by all who look at the page."""
        return _client(self.server, self.model, self.tls)

    def release(self, version: int) -> Release:
        """What is known of one of its versions."""
        return find_release(self.releases, version)


@st.cache_resource(ttl=KEPT_SECONDS, show_spinner=False)
def _client(server: str, model: str, tls: Tls | None) -> GenreClient:
    return GenreClient(server, model=model, tls=tls, timeout_seconds=60)


@st.cache_data(ttl=_LATEST_SECONDS, show_spinner=False)
def _numbers(server: str, model: str, tls: Tls | None) -> list[int]:
    listed = _client(server, model, tls).versions(timeout_seconds=10)
    return [version.number for version in listed if version.state == "AVAILABLE"]


def choose_models(defaults: argparse.Namespace) -> tuple[str, list[ModelChoice]]:
    """Draws the sidebar.

    Returns:
      The server, and the one or two models to ask; none where the server does not answer.
    """
    tls = read_tls(defaults)
    st.sidebar.header("Model")
    server = _choose_server(defaults.server, defaults.host)
    if tls is not None:
        st.sidebar.caption("Encrypted with TLS")
    name = st.sidebar.text_input("Name", defaults.model)
    first = _choose_version(
        ModelChoice(server, name, None, "", tls, defaults.releases),
        label=defaults.label or "",
        key="version",
    )
    if first is None:
        return server, []
    chosen = [first]
    if st.sidebar.toggle(
        "Compare with another", key="compare", bind="query-params", help="Two versions, or models"
    ):
        other = st.sidebar.text_input("Its name", name, key="other-name")
        second = _choose_version(
            dataclasses.replace(first, model=other, version=None, label=""),
            label="",
            key="other",
            start=1 if other == name else 0,
        )
        if second is not None:
            chosen.append(second)
    return server, chosen


def _choose_server(named: Sequence[str], host: str) -> str:
    """Draws the choice of a server.

    Visitors from a network choose among those that were named at the start: the page connects from
    its own machine, with its own client certificate.
    """
    if _is_loopback(host):
        return st.sidebar.text_input("Server", named[0], help="host:port of the gRPC API")
    server = st.sidebar.selectbox("Server", named)
    return server if server in named else named[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _choose_version(
    model: ModelChoice, *, label: str, key: str, start: int = 0
) -> ModelChoice | None:
    """Draws a model's versions; says why there are none."""
    try:
        numbers = _numbers(model.server, model.model, model.tls)
    except UserError as error:
        st.sidebar.error(plain(str(error)))
        return None
    if not numbers:
        st.sidebar.warning(plain(f"{model.model} has no version that serves yet."))
        return None

    def title(number: int) -> str:
        latest = ", the latest" if number == numbers[0] else ""
        return f"{model.release(number).title(model.model)} ({number}{latest})"

    linked = st.query_params.get(key, "")
    index = min(start, len(numbers) - 1)
    for position, number in enumerate(numbers):
        index = position if linked == str(number) else index
    number = st.sidebar.selectbox(
        "Version" if key == "version" else "Its version", numbers, index, title, key=f"{key}-number"
    )
    if key == "version" and number == numbers[0]:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = str(number)
    label = st.sidebar.text_input(
        "Label" if key == "version" else "Its label",
        label,
        key=f"{key}-label",
        help="Asks the version of this label (stable, canary …) instead",
    ).strip()
    if label:
        return dataclasses.replace(model, label=label)
    _show_release(model, number, key)
    return dataclasses.replace(model, version=number)


def _show_release(model: ModelChoice, number: int, key: str) -> None:
    """One click to what the pushed version says of itself."""
    release = model.release(number)
    with st.sidebar.popover("What this model is", key=f"{key}-release"):
        if not release.fields:
            st.text(
                "Nothing is known of it here: start the page with --releases and the folder that "
                "versions are pushed to (output/serving/genre)."
            )
            return
        st.text(release.title(model.model))
        if release.note:
            st.warning(plain(release.note.capitalize() + "."))
        tracks = ", ".join(f"{count} {split}" for split, count in release.tracks.items())
        if tracks:
            st.text(f"Tracks: {tracks}")
        if release.test_accuracy is not None:
            st.text(f"Accuracy on its test tracks: {100 * release.test_accuracy:.1f} %")
        genres = release.fields.get("genres")
        if isinstance(genres, list):
            st.text(f"Genres: {', '.join(map(str, genres))}")
        st.download_button(
            "Release evidence (JSON)",
            json.dumps(dict(release.fields), indent=2, ensure_ascii=False),
            file_name=f"{model.model}-{number}-release.json",
            mime="application/json",
            key=f"{key}-evidence",
            on_click="ignore",
        )
