"""`gatefold demo`: with a pushed model it is a page and its own server, which end together."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import psutil

from serving.client import GenreClient
from tests.serving.server_process import REPOSITORY

PAGE = r"The page: (http://\S+:\d+)"


def test_the_page_and_its_own_server_end_with_ctrl_c(versions, tmp_path):
    shutil.copytree(versions["right"], tmp_path / "serving" / "genre" / "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "gatefold", "demo", "--output", str(tmp_path)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "DISPLAY"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        (url,) = next(filter(None, (re.findall(PAGE, line) for line in process.stdout)))
        _wait_for(f"{url}/_stcore/health")
        (server,) = psutil.Process(process.pid).children()
        port = server.cmdline()[server.cmdline().index("--port") + 1]
        with GenreClient(f"localhost:{port}") as client:
            assert [*client.versions()] == [1]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert not server.is_running()


def _wait_for(url: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)
