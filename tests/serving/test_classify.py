"""`python -m serving.classify`: songs and the pushed folder, no server."""

import csv
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from components.common.releases import SYNTHETIC_NOTE, Release, ReleaseStore
from serving.client import GenreClient
from serving.client.cli import find_release
from serving.client.songs import find_songs
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


def classify(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-m", "serving.classify", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.slow
def test_table_of_a_folder_and_nothing_else(output: pathlib.Path, songs: pathlib.Path) -> None:
    done = classify("--output", output, songs)
    assert done.returncode == 0
    assert done.stderr == ""  # TensorFlow is quiet
    head, jazz, metal, title, note = done.stdout.splitlines()
    assert head.split() == ["song", "genre", "sure", "or", "else", "length", *head.split()[6:]]
    assert jazz.split()[:4] == ["jazz.flac", "jazz", "100", "%"]
    assert metal.split()[:4] == ["metal.flac", "metal", "100", "%"]
    assert title == "musicnn, trained on synthetic, 2026-11-22 (version 10)"
    assert note == SYNTHETIC_NOTE


@pytest.mark.slow
def test_answers_are_those_of_the_server(
    output: pathlib.Path, songs: pathlib.Path, server: ServerProcess
) -> None:
    done = classify("--output", output, "--json", songs / "jazz.flac")
    local = json.loads(done.stdout)
    with GenreClient(server.address) as client:
        served = client.classify_file(songs / "jazz.flac").as_json()
    assert local["release"]["synthetic"] is True
    for key in ("genre", "duration_seconds", "window_seconds", "file"):
        assert local[key] == served[key]
    assert local["probabilities"] == pytest.approx(served["probabilities"], abs=1e-5)
    starts = [[window["start_seconds"] for window in made["windows"]] for made in (local, served)]
    assert starts[0] == starts[1]


@pytest.mark.slow
def test_csv_of_an_older_version_and_a_file_that_fails(
    output: pathlib.Path, songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("la la la")
    done = classify("--output", output, "--version", 9, "--csv", songs / "jazz.flac", text)
    assert done.returncode == 1
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["genre"] for row in rows] == ["metal", ""]  # shifted by one
    assert [row["version"] for row in rows] == ["9", ""]
    assert done.stderr.splitlines() == [
        f"error: {text} is not audio that can be read (Format not recognised)"
    ]


@pytest.mark.slow
def test_watched_folder_gives_a_line_a_song(
    output: pathlib.Path, songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copy(songs / "jazz.flac", tmp_path)
    printed = tmp_path / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.classify", "--output", output, "--watch", tmp_path],
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(lambda: "jazz.flac  jazz 100 %  0:40" in printed.read_text(), process)
        data = (songs / "metal.flac").read_bytes()
        (tmp_path / "metal.flac").write_bytes(data[: len(data) // 2])
        (tmp_path / "metal.flac").write_bytes(data)
        (tmp_path / "broken.wav").write_text("la la la")
        _wait_for(lambda: "metal.flac  metal 100 %  0:40" in printed.read_text(), process)
        _wait_for(lambda: "broken.wav is not audio" in printed.read_text(), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert printed.read_text().count("jazz.flac") == 1
    assert "Traceback" not in printed.read_text()


@pytest.mark.slow
def test_watching_goes_on_with_the_old_model(
    output: pathlib.Path, songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    releases, folder = tmp_path / "releases", tmp_path / "folder"
    shutil.copytree(output / "serving" / "genre" / "10", releases / "10")
    folder.mkdir()
    printed = tmp_path / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving.classify"),
                *("--releases", str(releases), "--watch", str(folder)),
            ],
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
        )

    def put(name: str) -> None:
        shutil.copy(songs / "jazz.flac", tmp_path / name)
        (tmp_path / name).rename(folder / name)
        _wait_for(lambda: f"{name}  jazz 100 %" in printed.read_text(), process)

    try:
        put("first.flac")
        (releases / "11").mkdir()
        (releases / "11" / "saved_model.pb").write_bytes(b"nonsense")
        put("second.flac")
        put("third.flac")
        shutil.rmtree(releases)
        put("fourth.flac")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    errors = [line for line in printed.read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 2, errors
    assert f"the model in {releases / '11'} cannot be loaded" in errors[0]
    assert f"{releases} holds no versions" in errors[1]
    assert all(line.endswith("; going on with version 10") for line in errors)


def test_folder_that_goes_while_it_is_searched_is_left_out(
    songs: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "stays"):
        (tmp_path / name).mkdir()
        shutil.copy(songs / "jazz.flac", tmp_path / name)
    scandir, gone = os.scandir, tmp_path / "gone"

    def delete_first(path: str) -> object:
        if os.fspath(path) == str(gone) and gone.exists():
            (gone / "jazz.flac").unlink()
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", delete_first)
    assert list(find_songs([tmp_path])) == [tmp_path / "stays" / "jazz.flac"]
    assert not gone.exists()


def _wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)


def test_folder_without_a_model_is_said_before_tensorflow_is_loaded(
    songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    code = (
        "import sys; from serving.classify import main; code = main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    for arguments, code_expected, sentence in (
        (["--output", tmp_path, songs], 1, "holds no versions: `make run`"),
        (["--releases", tmp_path, songs], 1, "holds no versions: `make run`"),
        (["--watch", tmp_path / "none"], 1, "is not a folder"),
        ([], 2, "name a SONG"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code_expected, done.stderr
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_broken_model_is_said(tmp_path: pathlib.Path, songs: pathlib.Path) -> None:
    folder = tmp_path / "serving" / "genre" / "3"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"nonsense")
    done = classify("--output", tmp_path, songs)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"error: the model in {folder} cannot be loaded" in done.stderr
    done = classify("--output", tmp_path, "--version", 2, songs)
    assert "has no version 2. It has: 3" in done.stderr


def test_release_names_network_data_and_date(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "5"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    (folder / "assets.extra" / "release.json").write_text(json.dumps(FIELDS))
    release = find_release(tmp_path, 5)
    assert ReleaseStore(str(tmp_path)).newest() == 5
    assert release.title("genre") == "musicnn, trained on GTZAN, 2026-11-22"
    assert release.note == ""
    assert release.test_accuracy == 0.82
    assert release.tracks["test"] == 290


def test_release_without_a_file_says_what_its_number_tells(tmp_path: pathlib.Path) -> None:
    assert find_release(tmp_path, 7).title("genre") == "genre version 7"
    title = find_release(None, 1795333142).title("genre")
    assert title == "genre version 1795333142, 2026-11-22"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"model": 3, "data": null, "tracks": 1, "pushed_at": "soon"}',
        "\xff",
        "[" * 5000,
    ],
)
def test_release_takes_any_field_as_optional(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "7" / "assets.extra").mkdir(parents=True)
    (tmp_path / "7" / "assets.extra" / "release.json").write_text(content, encoding="latin-1")
    release = find_release(tmp_path, 7)
    assert release.title("genre") == "genre version 7"
    assert (release.tracks, release.test_accuracy, release.note) == ({}, None, "")
    assert Release(7).title("genre") == release.title("genre")
