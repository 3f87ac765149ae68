"""The web page: drop a song, see what it is, second by second.

    python -m serving.app --server localhost:8500

talks gRPC to `python -m serving.server` or TF Serving. The file is a Streamlit script; started as
a program it starts Streamlit on itself, on this machine only, with the page's colours.
"""

import argparse
import sys
from pathlib import Path

from streamlit import runtime


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.app",
        description="A page on this machine that asks a served model what genre songs are.",
    )
    parser.add_argument("--server", default="localhost:8500", metavar="HOST:PORT")
    parser.add_argument("--model", default="genre", metavar="NAME")
    parser.add_argument("--port", type=int, default=8503, help="the page's own (default: 8503)")
    return parser


def launch() -> int:
    """Starts Streamlit on this file. Returns its exit code."""
    from streamlit.web import cli

    arguments = _parser().parse_args()
    options = {
        "server.port": arguments.port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.primaryColor": "#6d4aff",
        "theme.baseRadius": "large",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    page = ["--server", arguments.server, "--model", arguments.model]
    script = Path(__file__).resolve()
    sys.path.insert(0, str(script.parent.parent))  # Streamlit puts the script's own folder there
    sys.argv = ["streamlit", "run", str(script), *flags, "--", *page]
    return int(cli.main(standalone_mode=False) or 0)


if __name__ == "__main__":
    if runtime.exists():
        from serving.page.view import render

        render(_parser().parse_known_args()[0])
    else:
        sys.exit(launch())
