"""The sidebar: which server, which model, and what it was trained on."""

import argparse
import dataclasses
import ipaddress
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit import runtime

from components.common.errors import UserError
from components.common.releases import Release
from serving.client import GenreClient, Tls
from serving.client.cli import find_release, read_tls
from serving.page.text import plain

KEPT_SECONDS = 30 * 60
_LATEST_SECONDS = 5  # how long a list of versions is believed
_REPORT = "assets.extra/index.html"


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
        return _release(self)


@st.cache_resource(ttl=KEPT_SECONDS, show_spinner=False)
def _client(server: str, model: str, version: int, tls: Tls | None) -> GenreClient:
    return GenreClient(server, model=model, version=version, tls=tls, timeout_seconds=60)


@st.cache_data(ttl=_LATEST_SECONDS, show_spinner=False)
def _release(choice: ModelChoice) -> Release:
    return find_release(choice.client(), choice.releases, choice.version)


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

    choices = {version: ModelChoice(server, model, version, tls, releases) for version in versions}
    version = st.sidebar.selectbox(
        "Version", versions, format_func=lambda number: choices[number].release().title(model)
    )
    choice = choices[version]
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
    """What the pushed version says of itself, with a link to the evidence of its release."""
    release = choice.release()
    st.sidebar.caption(plain(release.title(choice.model)))
    with st.sidebar.popover("What this model is"):
        if not release.fields:
            st.text(
                "The server does not say: start the page with --releases and the folder that "
                "versions are pushed to (output/serving/genre)."
            )
            return
        if release.note:
            st.warning(plain(release.note.capitalize() + "."))
        for name, text in facts(release).items():
            st.markdown(f"**{name}**: {plain(text)}")
        if choice.releases is not None:
            report = choice.releases / str(choice.version) / _REPORT
            if report.is_file():
                files = runtime.get_instance().media_file_mgr
                url = files.add(str(report), "text/html", f"report {choice.version}").lstrip("/")
                st.markdown(f"[The release's report: every gate with its evidence]({url})")


def facts(release: Release) -> dict[str, str]:
    """What a release says of itself, by name, as a person reads it."""
    fields, tracks = release.fields, release.tracks
    tested = f" of {tracks['test']} test tracks" if "test" in tracks else ""
    named = {
        "Network": release.network,
        "Trained on": f"{release.data}, {tracks.get('train', '?')} tracks" if release.data else "",
        "Weights": release.pretraining,
        "Accuracy": _figure(fields, "test_accuracy", tested),
        "Macro-F1": _figure(fields, "test_macro_f1", tested),
        "Genres": ", ".join(map(str, fields.get("genres") or ())),
        "Pushed": release.pushed_at,
        "Run": release.run_id,
    }
    return {name: text for name, text in named.items() if text}


def _figure(fields: Mapping[str, Any], name: str, tested: str) -> str:
    value, interval = fields.get(name), fields.get(f"{name}_interval")
    if not isinstance(value, float):
        return ""
    ends = ""
    if isinstance(interval, list) and [*map(type, interval)] == [float, float]:
        ends = f" (95 % interval {interval[0]:.2f} to {interval[1]:.2f})"
    return f"{value:.2f}{ends}{tested}"
