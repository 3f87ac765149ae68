"""The sidebar: which server, which model, and what it was trained on."""

import argparse
import dataclasses
import ipaddress
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
    """A version to ask.

    Attributes:
      server: "host:port" of gRPC.
      model: Name of the served model.
      version: The version.
      tls: Encryption; None for plain text.
      releases: The folder that versions are pushed to; None where it is not known.
    """

    server: str
    model: str
    version: int
    tls: Tls | None
    releases: pathlib.Path | None

    def client(self) -> GenreClient:
        """A client of this version, shared by all who look at the page."""
        return _client(self.server, self.model, self.version, self.tls)

    def release(self) -> Release:
        """What is known of the version."""
        return find_release(self.releases, self.version)


@st.cache_resource(ttl=KEPT_SECONDS, show_spinner=False)
def _client(server: str, model: str, version: int, tls: Tls | None) -> GenreClient:
    return GenreClient(server, model=model, version=version, tls=tls, timeout_seconds=60)


@st.cache_data(ttl=_LATEST_SECONDS, show_spinner=False)
def _versions(server: str, model: str, tls: Tls | None) -> list[int]:
    with GenreClient(server, model=model, tls=tls, timeout_seconds=10) as client:
        return [version for version, state in client.versions().items() if state == "AVAILABLE"]


def choose_model(defaults: argparse.Namespace) -> tuple[str, ModelChoice | None]:
    """Draws the sidebar.

    Returns:
      The server, and the version to ask; None where none answers.
    """
    tls, releases = read_tls(defaults), defaults.releases
    st.sidebar.header("Model")
    server = _choose_server(defaults.server, defaults.host)
    if tls is not None:
        st.sidebar.caption("Encrypted with TLS")
    model = st.sidebar.text_input("Name", defaults.model)
    try:
        versions = _versions(server, model, tls)
    except UserError as error:
        st.sidebar.error(plain(str(error)))
        return server, None
    if not versions:
        st.sidebar.warning(plain(f"{model} has no version that serves yet."))
        return server, None

    def title(version: int) -> str:
        latest = ", the latest" if version == versions[0] else ""
        return f"{find_release(releases, version).title(model)} ({version}{latest})"

    version = st.sidebar.selectbox("Version", versions, format_func=title)
    choice = ModelChoice(server, model, version, tls, releases)
    _show_release(choice)
    return server, choice


def _choose_server(servers: Sequence[str], host: str) -> str:
    """Draws the choice of a server.

    Visitors from a network choose among those that were named at the start: the page connects from
    its own machine, with its own client certificate.
    """
    if _is_loopback(host):
        return st.sidebar.text_input("Server", servers[0], help="host:port of the gRPC API")
    server = st.sidebar.selectbox("Server", servers)
    return server if server in servers else servers[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show_release(choice: ModelChoice) -> None:
    """One click to what the pushed version says of itself."""
    release = choice.release()
    with st.sidebar.popover("What this model is"):
        if not release.fields:
            st.text(
                "Nothing is known of it here: start the page with --releases and the folder that "
                "versions are pushed to (output/serving/genre)."
            )
            return
        st.text(release.title(choice.model))
        if release.note:
            st.warning(plain(release.note.capitalize() + "."))
        st.json(dict(release.fields))
