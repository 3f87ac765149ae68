"""The package as an image has it: built, installed, and with no checkout near."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE_FOLDERS = ("components", "pipeline", "serving", "kubeflow", "schemas")
_FILES = ("pyproject.toml", "gatefold.py", "local_runner.py")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of what git tracks, and of new files that it does not ignore."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name.startswith((*(f"{folder}/" for folder in PACKAGE_FOLDERS), *_FILES)):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                target.write_bytes((ROOT / name).read_bytes())
    folder = tmp_path_factory.mktemp("wheel")
    # The build backend itself, as pip calls it.
    script = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run(
        [sys.executable, "-c", script], cwd=source, check=True, capture_output=True, text=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def image(tmp_path_factory, wheel) -> Path:
    """The `bin` folder of an environment that has the libraries and the installed package."""
    folder = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (libraries,) = (Path(one) for one in sys.path if one.endswith("site-packages"))
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(packages)], check=True)
    return folder / "bin"
