"""`gatefold` and `make`: what they refuse, what `make clean` spares, and how Ctrl-C ends them."""

import os
import signal
import subprocess

import pytest

import gatefold
from tests.conftest import ROOT


def make(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["make", "-s", "-o", ".venv/.runtime", *arguments],
        cwd=ROOT,
        # Those of `make test` are not meant for it.
        env={name: os.environ[name] for name in os.environ.keys() - {"ARGS", "MAKEFLAGS"}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_an_unknown_word_gets_a_suggestion(capsys):
    assert gatefold.main(["clasify", "song.mp3"]) == 2
    assert "did you mean classify?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "data=music"], "no variable data (did you mean DATA?)"),
        (["run", "MODEL=cnn"], "no variable MODEL (did you mean MODELS?)"),
        # `make run DATA=$UNSET` must not push a model of synthetic music over production.
        (["run", "DATA="], "--data is empty"),
        (["clean", "OUTPUT=."], "OUTPUT=. is a checkout"),
    ],
)
def test_make_refuses_what_would_do_something_else(arguments, message):
    process = make(*arguments)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert message in errors


def test_clean_removes_a_run_s_files_and_pushed_releases_only_when_asked(tmp_path):
    output = tmp_path / "a run"
    for folder in ("logs", "serving/genre/1", "music"):
        (output / folder).mkdir(parents=True)
    make("clean", f"OUTPUT={output}").communicate()
    assert {path.name for path in output.iterdir()} == {"serving", "music"}
    make("clean", f"OUTPUT={output}", "RELEASES=yes").communicate()
    assert {path.name for path in output.iterdir()} == {"music"}


def test_after_ctrl_c_make_has_nothing_to_add(tmp_path):
    process = make("run", f"OUTPUT={tmp_path / 'out'}")
    process.stdout.readline()  # the run has begun
    os.killpg(process.pid, signal.SIGINT)
    screen, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "Interrupted" in screen + errors
    assert "***" not in errors
    assert f"output: {tmp_path / 'out'}" in (tmp_path / "out" / "gatefold.yaml").read_text()
