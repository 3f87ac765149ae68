"""The client: any codec and length, many files, honest errors."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from components.common.errors import UserError
from serving.client import GenreClient
from serving.client.cli import main
from serving.client.results import window_starts
from tests.serving.conftest import OTHER_GENRES
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone


@pytest.fixture(scope="module")
def client(server: ServerProcess):
    with GenreClient(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of songs in every codec, at several rates and channel counts."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "deeper").mkdir()
    made = {
        "a.wav": ("blues", 22_050, 1),
        "b.flac": ("jazz", 44_100, 2),
        "c.mp3": ("disco", 44_100, 2),
        "d.ogg": ("country", 48_000, 1),
        "deeper/e.au": ("classical", 22_050, 2),
    }
    for name, (genre, rate, channels) in made.items():
        samples = tone(genre, seconds=4 * rate / SETTINGS.sample_rate_hz)
        samples = resampled(samples, rate)
        soundfile.write(folder / name, np.repeat(samples[:, None], channels, 1), rate)
    return folder


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    import soxr

    return soxr.resample(samples, SETTINGS.sample_rate_hz, rate)


def test_every_codec_rate_and_channel_count(client: GenreClient, songs: pathlib.Path) -> None:
    expected = {"a": "blues", "b": "jazz", "c": "disco", "d": "country", "e": "classical"}
    for path in sorted(songs.rglob("*.*")):
        assert client.classify_file(path).genre == expected[path.stem], path


def test_prediction_tells_the_course_of_a_song(client: GenreClient) -> None:
    window = SETTINGS.window_samples / SETTINGS.sample_rate_hz
    parts = [tone("rock", seconds=4 * window), tone("pop", seconds=6 * window)]
    prediction = client.classify_samples(np.concatenate(parts), name="two parts")
    assert [genre for _, genre, _ in prediction.timeline()] == ["rock"] * 4 + ["pop"] * 6
    assert prediction.window_starts_seconds[4] == pytest.approx(4 * window)
    assert prediction.genre == "pop"
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert (prediction.model, prediction.version) == ("genre", 2)


def test_window_length_follows_from_the_count() -> None:
    """12 s hold four windows of either; 29.75 s ten of log_mel and nine of music_mel."""
    log_mel = SETTINGS.window_samples / SETTINGS.sample_rate_hz
    music_mel = 187 * 353 / SETTINGS.sample_rate_hz
    samples = int(29.75 * SETTINGS.sample_rate_hz)
    assert window_starts(samples, 10, SETTINGS)[1] == pytest.approx(log_mel)
    assert window_starts(samples, 9, SETTINGS)[1] == pytest.approx(music_mel)
    assert window_starts(22_050 * 12, 3, SETTINGS)[1] == pytest.approx(4.0)


def test_windows_begin_anew_with_each_clip_of_thirty_seconds() -> None:
    window = SETTINGS.window_samples / SETTINGS.sample_rate_hz
    expected = [30 * (i // 10) + window * (i % 10) for i in range(25)]
    for seconds, windows in ((75, 25), (62, 20)):
        starts, _ = window_starts(seconds * SETTINGS.sample_rate_hz, windows, SETTINGS)
        np.testing.assert_allclose(starts, expected[:windows])


def test_a_rest_under_a_window_at_the_end_of_a_long_song_is_left_out(client: GenreClient) -> None:
    prediction = client.classify_samples(tone("rock", seconds=602), name="ten minutes")
    assert len(prediction.window_probabilities) == 200
    assert prediction.duration_seconds == pytest.approx(602)


def test_version_and_label(server: ServerProcess) -> None:
    with GenreClient(server.address, version=1) as client:
        assert client.classify_samples(tone("blues")).genre == "classical"
    with GenreClient(server.address, label="canary") as client:
        assert client.classify_samples(tone("blues")).genre == "blues"
        assert list(client.versions().items()) == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    with pytest.raises(UserError, match="not both"):
        GenreClient(server.address, version=1, label="stable")


def test_what_is_not_a_song_is_said(client: GenreClient, tmp_path: pathlib.Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("la la la")
    short = tmp_path / "short.wav"
    soundfile.write(short, tone("pop", seconds=1), SETTINGS.sample_rate_hz)
    for path, reason in (
        (text, "is not audio"),
        (short, "too short: at least 3 s"),
        (tmp_path / "none.wav", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(UserError, match=reason):
            client.classify_file(path)


def test_folder_streams_in_order_and_one_bad_file_stops_nothing(
    client: GenreClient, songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    paths = [songs / "a.wav", broken, songs / "b.flac"] * 5
    results = list(client.stream(iter(paths), concurrency=3))
    assert [result.path for result in results] == paths
    genres = [result.prediction.genre if result.prediction else None for result in results]
    assert genres == ["blues", None, "jazz"] * 5
    assert all("broken.wav" in result.error for result in results[1::3])


def test_command_line_prints_a_table(server: ServerProcess, songs: pathlib.Path, capsys) -> None:
    assert main(["--server", server.address, str(songs)]) == 0
    printed = capsys.readouterr().out
    for word in ("a.wav", "blues", "deeper/e.au", "classical", "0:04"):
        assert word in printed
    assert main(["--server", server.address, str(songs / "a.wav")]) == 0
    assert "genre version 2" in capsys.readouterr().out


def test_command_line_prints_json_and_goes_on_after_errors(
    server: ServerProcess, songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("la la la")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "serving.client", "--server", server.address, "--json"),
            *(str(text), str(songs)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("genre") for line in lines] == [
        None,
        *("blues", "jazz", "disco", "country", "classical"),
    ]
    assert "not audio" in lines[0]["error"]
    assert len(done.stderr.splitlines()) == 1
    assert lines[1]["probability"] > 0.9
    assert lines[1]["windows"][0] == pytest.approx(
        {"start_seconds": 0.0, "genre": "blues", "probability": lines[1]["probability"]}
    )


def test_command_line_says_once_that_no_server_answers(songs: pathlib.Path, capsys) -> None:
    assert main(["--server", "localhost:1", str(songs)]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "no server answers at localhost:1" in printed and "`make serve`" in printed


def test_command_line_shows_any_genres_as_they_are(
    server: ServerProcess, tmp_path: pathlib.Path, capsys
) -> None:
    for genre in OTHER_GENRES:
        soundfile.write(tmp_path / f"{genre}.wav", tone(genre), SETTINGS.sample_rate_hz)
    assert main(["--server", server.address, "--model", "others", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()[1 : len(OTHER_GENRES) + 1]
    for line, (genre, name) in zip(lines, sorted(OTHER_GENRES.items()), strict=True):
        assert line.startswith(f"{genre}.wav ") and line.split(maxsplit=1)[1].startswith(f"{name} ")
