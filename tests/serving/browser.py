"""Debian's chromium, driven by Playwright; installed where tests may do that."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser")


def find_chromium() -> str:
    """Path of chromium. As root on Debian in CI it is installed first.

    Without it tests skip, but in CI they fail: there, a skipped test is a test that nobody runs.
    """
    found = _which()
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if found is None and in_ci:
        if os.geteuid() == 0 and shutil.which("apt-get"):
            for command in ("update -qq", "install -y -qq --no-install-recommends chromium"):
                subprocess.run(
                    ["apt-get", "-o", "DPkg::Lock::Timeout=300", *command.split()],
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                    stdout=subprocess.DEVNULL,
                    check=False,
                )
            found = _which()
        if found is None:
            pytest.fail("CI tests the page in chromium, and it could not be installed")
    if found is None:
        pytest.skip("needs chromium: apt-get install chromium (CI=true installs it, as root)")
    return found


def _which() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def save_picture(page: Any, name: str) -> None:
    """Saves a picture of the whole page to the folder of GATEFOLD_PICTURES, where it is set."""
    folder = os.environ.get("GATEFOLD_PICTURES")
    if folder:
        page.screenshot(path=pathlib.Path(folder) / f"{name}.png", full_page=True)
