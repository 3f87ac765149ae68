"""The web page: drop a song, see what it is, second by second.

    python -m serving.app --server localhost:8500

talks gRPC to `python -m serving.server` or TF Serving. The file is a Streamlit script; started as
a program it starts Streamlit on itself, on this machine only unless told otherwise, with the
page's colours.
"""

import argparse
import sys
from pathlib import Path

from streamlit import runtime

_PAGE_PORT = 8503
_MOST_UPLOAD_MIB = 512


def _parser() -> argparse.ArgumentParser:
    from components.common.command_line import Parser
    from serving.client.cli import add_server_flags

    parser = Parser(
        prog="gatefold app",
        description="A page that asks a served model what genre songs are.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where the page listens; 0.0.0.0 opens it to the network, and it asks nobody for a "
        "password (default: 127.0.0.1, this machine only)",
    )
    parser.add_argument(
        "--port", type=_port, default=_PAGE_PORT, help=f"the page's own (default: {_PAGE_PORT})"
    )
    add_server_flags(parser, servers=True)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port. Received: {text!r}")
    return int(text)


def launch() -> int:
    """Starts Streamlit on this file. Returns its exit code."""
    from streamlit.web import cli

    flags_of_page = sys.argv[1:]
    arguments = _parser().parse_args(flags_of_page)
    options = {
        "server.port": arguments.port,
        "server.address": arguments.host,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.maxUploadSize": _MOST_UPLOAD_MIB,
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.light.primaryColor": "#5b3df5",
        "theme.dark.primaryColor": "#8b74ff",
        "theme.baseRadius": "large",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    script = Path(__file__).resolve()
    sys.path.insert(0, str(script.parent.parent))  # Streamlit puts the script's own folder there
    sys.argv = ["streamlit", "run", str(script), *flags, "--", *flags_of_page]
    return int(cli.main(standalone_mode=False) or 0)


if __name__ == "__main__":
    if runtime.exists():
        from serving.page.view import render

        render(_parser().parse_known_args()[0])
    else:
        sys.exit(launch())
