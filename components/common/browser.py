"""Opens a page in the user's browser. In `common` because MLflow's page and ours are opened."""

import contextlib
import os
import socket
import sys
import threading
import time
import webbrowser


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False


def shown_host(host: str) -> str:
    """The host of an address that a browser of this machine opens, of one that is listened on."""
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host


def open_when_ready(url: str, port: int) -> None:
    """Opens a page in the background once its port answers, where a browser has a window."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return  # a browser of the terminal would take it over

    def wait_and_open() -> None:
        while not answers(port):
            time.sleep(0.2)
        webbrowser.open(url)

    threading.Thread(target=wait_and_open, daemon=True).start()
