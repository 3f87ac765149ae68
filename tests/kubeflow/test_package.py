"""The installed package holds all that nodes and commands read."""

import os
import subprocess
import zipfile

import gatefold
from tests.conftest import ROOT
from tests.kubeflow.conftest import PACKAGE_FOLDERS

# For people and clusters, not for programs.
_NOT_INSTALLED = ("kubeflow/Dockerfile", "kubeflow/manifests/")


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGE_FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wanted = {name for name in tracked if not name.startswith(_NOT_INSTALLED)}
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tests/")]


def test_every_word_of_the_command_starts_from_an_empty_folder(image, tmp_path):
    # What pip writes into the installed script.
    script = (
        "import importlib.metadata as metadata\n"
        "(command,) = metadata.distribution('gatefold').entry_points\n"
        "raise SystemExit(command.load()())"
    )
    for word in gatefold.WORDS:
        process = subprocess.run(
            [image / "python", "-c", script, word, "--help"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        # `dag` has the flags of `run`, and its help is theirs.
        assert f"usage: gatefold {'run' if word == 'dag' else word}" in process.stdout


def test_the_images_last_step_imports_every_executor(image, tmp_path):
    process = subprocess.run(
        [image / "python", "-m", "kubeflow.image_check"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "components.example_gen.executor.Executor" in process.stdout.splitlines()


def test_no_checkout_is_behind_the_installed_package(image, tmp_path):
    process = subprocess.run(
        [image / "python", "-c", "import components, kubeflow; print(components.__file__)"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(image.parent) in process.stdout and str(ROOT) not in process.stdout
