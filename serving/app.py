"""The web page: drop a song, see what it is, second by second.

    python -m serving.app --server localhost:8500

talks gRPC to `python -m serving.server` or TF Serving; where none answers it starts a server of its
own on the releases of --releases. The file is a Streamlit script; started as
a program it starts Streamlit on itself, on this machine only unless told otherwise, with the
page's colours.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamlit import runtime

_PAGE_PORT = 8503
_USUAL_SERVER = "localhost:8500"
_MOST_UPLOAD_MIB = 512


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
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
    parser.add_argument(
        "--open", action="store_true", help="show it in the browser, where there is one"
    )
    add_server_flags(parser, servers=True)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port. Received: {text!r}")
    return int(text)


def launch(arguments: Sequence[str], *, own_server: bool = False) -> int:
    """Starts Streamlit on this file, and a server where none answers. Returns the exit code.

    Args:
      arguments: The flags.
      own_server: Start one even where one answers.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parsed = build_parser().parse_args(arguments)
    if parsed.open:
        threading.Thread(target=_open_browser, args=(parsed.port,), daemon=True).start()
    try:
        with _server(parsed, own_server) as flags:
            return _streamlit(parsed, [*arguments, *flags])
    except KeyboardInterrupt:
        return 130


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _server(parsed: argparse.Namespace, always: bool) -> Iterator[list[str]]:
    """Runs a server of the page's own where the usual one is meant and does not answer.

    Yields:
      The flags with which the page finds it.
    """
    usual_port = int(_USUAL_SERVER.partition(":")[2])
    is_usual = parsed.server == [_USUAL_SERVER] and parsed.releases is not None
    if not is_usual or (_answers(usual_port) and not always):
        yield []
        return
    port = free_port()
    command = [sys.executable, "-m", "serving.server", "--model-base-path", str(parsed.releases)]
    server = subprocess.Popen([*command, "--port", str(port), "--rest-port", "off"])
    try:
        while server.poll() is None and not _answers(port):
            time.sleep(0.2)
        yield ["--server", f"localhost:{port}"]
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False


def _open_browser(port: int) -> None:
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return  # a browser of the terminal would take it over
    while not _answers(port):
        time.sleep(0.2)
    webbrowser.open(f"http://localhost:{port}")


def _streamlit(arguments: argparse.Namespace, flags_of_page: Sequence[str]) -> int:
    from streamlit.web import cli

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

        render(build_parser().parse_known_args()[0])
    else:
        sys.exit(launch(sys.argv[1:]))
