"""`python -m serving.classify`: songs and the pushed folder, no server."""

import argparse
import csv
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import soundfile

from components.common.releases import SYNTHETIC_NOTE, Release, ReleaseStore
from pipeline.options import add_shared_options
from serving.classify import build_parser, main
from serving.client import GenreClient
from serving.server import cli
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone

FIELDS = {
    "model": "musicnn",
    "data": "/data/GTZAN",
    "synthetic": False,
    "pushed_at": "2026-11-22T10:00:00+00:00",
    "genres": ["blues", "jazz"],
    "tracks": {"train": 443, "validation": 197, "test": 290},
    "test_accuracy": 0.82,
}


@pytest.fixture(scope="module")
def output(
    tmp_path_factory: pytest.TempPathFactory, versions: dict[str, pathlib.Path]
) -> pathlib.Path:
    """An output folder with two pushed versions, of which 10 is the newest by number."""
    folder = tmp_path_factory.mktemp("output")
    base = folder / "serving" / "genre"
    shutil.copytree(versions["shifted"], base / "9")
    shutil.copytree(versions["right"], base / "10")
    (base / "11").mkdir()  # being written
    release = {**FIELDS, "data": "data/synthetic", "synthetic": True}
    (base / "10" / "assets.extra" / "release.json").write_text(json.dumps(release))
    return folder


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("songs")
    for genre in ("jazz", "metal"):
        soundfile.write(folder / f"{genre}.flac", tone(genre, seconds=40), SETTINGS.sample_rate_hz)
    return folder


@pytest.mark.slow
def test_table_of_a_folder_and_nothing_else(output: pathlib.Path, songs: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving.classify", "--output", output, songs],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("TF_")},
    )
    assert done.returncode == 0
    assert done.stderr == ""  # TensorFlow is quiet
    head, jazz, metal, title, note = done.stdout.splitlines()
    assert head.split() == ["song", "genre", "sure", "or", "else", "length", *head.split()[6:]]
    assert jazz.split()[:4] == ["jazz.flac", "jazz", "100", "%"]
    assert metal.split()[:4] == ["metal.flac", "metal", "100", "%"]
    assert title == "musicnn, trained on synthetic (version 10, 2026-11-22)"
    assert note == SYNTHETIC_NOTE


def test_answers_are_those_of_the_server(
    output: pathlib.Path, songs: pathlib.Path, server: ServerProcess, capsys
) -> None:
    assert main(["--output", str(output), "--json", str(songs / "jazz.flac")]) == 0
    local = json.loads(capsys.readouterr().out)
    with GenreClient(server.address) as client:
        served = client.classify_file(songs / "jazz.flac").as_json()
    assert local["release"]["synthetic"] is True
    for key in ("genre", "duration_seconds", "window_seconds", "file"):
        assert local[key] == served[key]
    assert local["probabilities"] == pytest.approx(served["probabilities"], abs=1e-5)
    starts = [[window["start_seconds"] for window in made["windows"]] for made in (local, served)]
    assert starts[0] == starts[1]


def test_csv_of_an_older_version_and_a_file_that_fails(
    output: pathlib.Path, songs: pathlib.Path, tmp_path: pathlib.Path, capsys
) -> None:
    text = tmp_path / "a note, no music.wav"
    text.write_text("la la la")
    flags = ["--output", str(output), "--version", "9", "--csv"]
    assert main([*flags, str(songs / "jazz.flac"), str(text)]) == 1
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["genre"] for row in rows] == ["metal", ""]  # shifted by one
    assert [row["version"] for row in rows] == ["9", ""]
    assert [row["file"] for row in rows] == [str(songs / "jazz.flac"), str(text)]
    assert (rows[0]["close"], rows[0]["error"]) == ("no", "") and "not audio" in rows[1]["error"]
    assert printed.err.startswith(f"error: {text} is not audio") and printed.err.count("\n") == 1


def test_a_model_that_is_missing_or_broken_is_said(
    songs: pathlib.Path, tmp_path: pathlib.Path, capsys
) -> None:
    def refusal(*arguments: object) -> str:
        assert main([*map(str, arguments), str(songs)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    folder = tmp_path / "serving" / "genre" / "3"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"nonsense")
    assert f"the model in {folder} cannot be loaded" in refusal("--output", tmp_path)
    assert "has no version 2. It has: 3" in refusal("--output", tmp_path, "--version", 2)
    assert "holds no versions: `make run`" in refusal("--output", tmp_path / "other")


def test_folder_without_a_model_is_said_before_tensorflow_is_loaded(
    songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    code = (
        "import sys; from serving.classify import main; code = main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--releases", tmp_path, songs],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "holds no versions: `make run`" in done.stderr


def test_help_says_that_loading_a_saved_model_runs_its_code() -> None:
    pipeline_parser = argparse.ArgumentParser()
    add_shared_options(pipeline_parser)
    for parser, flag in (
        (build_parser(), "--releases"),
        (cli.build_parser(), "--model-base-path"),
        (pipeline_parser, "--weights"),
    ):
        (action,) = (action for action in parser._actions if flag in action.option_strings)
        assert "code" in action.help and "trust" in action.help


def test_release_names_network_data_and_date(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "5"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    (folder / "assets.extra" / "release.json").write_text(json.dumps(FIELDS))
    store = ReleaseStore(str(tmp_path))
    release = store.release(5)
    assert store.newest() == 5
    assert release.title("genre") == "musicnn, trained on GTZAN (version 5, 2026-11-22)"
    assert (release.note, release.test_accuracy, release.tracks["test"]) == ("", 0.82, 290)
    title = Release(1795333142).title("genre")
    assert title == "genre (version 1795333142, 2026-11-22)"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        '{"model": 3, "data": null, "tracks": 1, "pushed_at": "soon"}',
        "\xff",
        "[" * 5000,
    ],
)
def test_release_takes_any_field_as_optional(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "7" / "assets.extra").mkdir(parents=True)
    (tmp_path / "7" / "assets.extra" / "release.json").write_text(content, encoding="latin-1")
    release = ReleaseStore(str(tmp_path)).release(7)
    assert release.title("genre") == Release(7).title("genre") == "genre (version 7)"
    assert (release.tracks, release.test_accuracy, release.note) == ({}, None, "")
