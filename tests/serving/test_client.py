"""The client: songs as people have them, many files, honest errors, and what is printed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from components.audio import codec
from components.common.errors import UserError
from components.common.releases import SYNTHETIC_NOTE
from serving.client import GenreClient
from serving.client.cli import main
from serving.client.results import window_starts
from serving.client.songs import cut, find_songs
from tests.serving.conftest import OTHER_GENRES
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone


def write_wav(path: pathlib.Path, samples: np.ndarray) -> pathlib.Path:
    soundfile.write(path, samples, SETTINGS.sample_rate_hz)
    return path


@pytest.fixture(scope="module")
def client(server: ServerProcess):
    with GenreClient(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of songs in every codec, at several rates and channel counts, as macOS leaves it."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "._e.au").write_bytes(b"\0\5\26\7")
    made = {
        "a.wav": ("blues", 22_050, 1),
        "b.flac": ("jazz", 44_100, 2),
        "c.mp3": ("disco", 44_100, 2),
        "d.ogg": ("country", 48_000, 1),
        "deeper/e.au": ("classical", 22_050, 2),
    }
    for name, (genre, rate, channels) in made.items():
        samples = tone(genre, seconds=4 * rate / SETTINGS.sample_rate_hz)
        samples = soxr.resample(samples, SETTINGS.sample_rate_hz, rate)
        soundfile.write(folder / name, np.repeat(samples[:, None], channels, 1), rate)
    return folder


def test_every_codec_rate_and_channel_count(client: GenreClient, songs: pathlib.Path) -> None:
    expected = {"a": "blues", "b": "jazz", "c": "disco", "d": "country", "e": "classical"}
    for path in find_songs([songs]):
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


def test_version_and_label(server: ServerProcess) -> None:
    with GenreClient(server.address, version=1) as client:
        assert client.classify_samples(tone("blues")).genre == "classical"
    with GenreClient(server.address, label="canary") as client:
        assert client.classify_samples(tone("blues")).genre == "blues"
        assert list(client.versions().items()) == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    with pytest.raises(UserError, match="not both"):
        GenreClient(server.address, version=1, label="stable")


@pytest.mark.parametrize(
    "wanted", [{"version": 10**20}, {"model": "\udce9"}, {"label": "\udce9"}], ids=str
)
def test_what_no_server_can_be_asked_for_is_said(wanted: dict) -> None:
    with pytest.raises(UserError, match="no server has such"):
        GenreClient("localhost:1", **wanted)


def test_what_is_not_a_song_is_said(client: GenreClient, tmp_path: pathlib.Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("la la la")
    silence = np.zeros(5 * SETTINGS.sample_rate_hz)
    for path, reason in (
        (text, "is not audio"),
        (write_wav(tmp_path / "short.wav", tone("pop", seconds=1)), "too short: at least 3 s"),
        (
            write_wav(tmp_path / "silent.wav", silence),
            r"silent\.wav is silent \(nothing reaches",
        ),
        (tmp_path / "none.wav", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(UserError, match=reason):
            client.classify_file(path)
    quiet = write_wav(tmp_path / "quiet.wav", tone("pop", level=0.001))
    assert client.classify_file(quiet).name == str(quiet)


@pytest.mark.parametrize(("rate", "inaudible"), [(22_050, 0.0), (44_100, 0.01)])
def test_silent_part_of_a_long_song_does_not_count(
    client: GenreClient, tmp_path: pathlib.Path, rate: int, inaudible: float
) -> None:
    """Minutes of silence before the hidden track; a released model refuses such a part.

    At 44.1 kHz with a tone that no model hears.
    """
    time = np.arange(300 * rate) / rate
    silence = inaudible * np.sin(2 * np.pi * 18_000 * time)
    song = soxr.resample(tone("jazz", seconds=30), SETTINGS.sample_rate_hz, rate)
    path = tmp_path / "hidden track.wav"
    soundfile.write(path, np.append(silence, song), rate, "PCM_24")
    prediction = client.classify_file(path)
    assert prediction.genre == "jazz"
    assert len(prediction.window_probabilities) == 10
    assert prediction.window_starts_seconds[0] == 300
    assert prediction.duration_seconds == 330


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
    assert "genre (version 2)" in capsys.readouterr().out


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
    window = lines[1]["windows"][0]
    assert (window["start_seconds"], window["genre"]) == (0.0, "blues")
    assert window["probabilities"]["blues"] == window["probability"] > 0.9
    assert sum(window["probabilities"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("flags", [(), ("--json",), ("--csv",)])
def test_every_answer_says_by_itself_that_its_model_knows_synthetic_music_only(
    server: ServerProcess, songs: pathlib.Path, capsys, flags: tuple[str, ...]
) -> None:
    command = ["--server", server.address, "--model", "others", *flags, str(songs / "a.wav")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert SYNTHETIC_NOTE in printed and "cnn, trained on composed" in printed
    assert "0" * 64 not in printed


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


@pytest.mark.parametrize(
    ("rate", "seconds", "expected"),
    [
        (22_050, 3, [3]),
        (22_050, 300, [300]),
        (22_050, 302, [302]),
        (22_050, 304, [300, 4]),
        (22_050, 920, [300, 300, 300, 20]),
        (8_000, 302, [302]),
        (44_100, 302, [150, 152]),
        (48_000, 130, [120, 10]),
        (192_000, 62, [30, 32]),
    ],
)
def test_parts_end_where_clips_do_and_a_short_rest_stays_with_the_last(
    rate: int, seconds: int, expected: list[int]
) -> None:
    sound = np.resize(np.array([0.1, -0.1], np.float32), seconds * rate)
    blocks = np.array_split(sound, max(1, len(sound) // 100_000))
    parts = list(cut(iter(blocks), rate, name="a"))
    assert [len(part) / rate for part in parts] == expected
    assert all(len(codec.encode_wav(part, rate)) < 16 << 20 for part in parts)


def test_song_over_half_an_hour_is_read_from_disk_part_by_part(
    client: GenreClient, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "a set.wav"
    minute = codec.to_pcm16(tone("jazz", seconds=60))
    with soundfile.SoundFile(path, "w", SETTINGS.sample_rate_hz, 1, "PCM_16") as file:
        for _ in range(31):
            file.buffer_write(minute, "int16")
    tracemalloc.start()
    prediction = client.classify_file(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert prediction.duration_seconds == 31 * 60
    assert prediction.genre == "jazz"
    assert len(prediction.window_probabilities) == 62 * 10
    # As float samples the song is 164 MB; a part is 26 MB, and a few times that while it is sent.
    assert most < 150e6


def test_samples_that_are_no_sound_are_refused(client: GenreClient) -> None:
    sound = tone("pop")
    broken = sound.copy()
    broken[100] = np.nan
    integers = np.round(32767 * sound)
    for samples, received in (
        (broken, r"float32 \[88200\], values up to nan"),
        (integers, "values up to 16"),
        (integers.astype(np.int16), "int16"),
        (np.stack([sound, sound]), r"float32 \[2, 88200\]"),
    ):
        with pytest.raises(UserError, match=f"by 32768. Received: .*{received}"):
            client.classify_samples(samples)


def test_every_broken_wav_gives_a_sentence_that_names_it(client: GenreClient) -> None:
    whole = codec.encode_wav(tone("pop"), SETTINGS.sample_rate_hz)
    for length in (0, 1, 4, 8, 12, 16, 20, 24, 30, 36, 40, 43, 44, 45, 46, 100, 1000):
        with pytest.raises(UserError, match=r"^broken\.wav (is|holds) ") as caught:
            client.classify_bytes(whole[:length], name="broken.wav")
        assert "trying to read string" not in str(caught.value)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg: apt-get install ffmpeg")
def test_m4a_is_read_by_ffmpeg_and_named_where_that_is_missing(
    client: GenreClient, tmp_path: pathlib.Path, monkeypatch
) -> None:
    """A song as iTunes keeps them: AAC, 44.1 kHz, stereo."""
    source = write_wav(tmp_path / "source.wav", tone("disco", seconds=20))
    path = tmp_path / "song.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-ac", "2", "-ar", "44100", "-c:a", "aac", path],
        check=True,
    )
    for prediction in (
        client.classify_file(path),
        client.classify_bytes(path.read_bytes(), name="song.m4a"),
    ):
        assert prediction.genre == "disco"
        assert prediction.duration_seconds == pytest.approx(20, abs=0.2)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"song\.m4a has no decoder: install ffmpeg"):
        client.classify_file(path)


def run_client(server: ServerProcess, *arguments: object, **options: object):
    command = [sys.executable, "-m", "serving.client", "--server", server.address]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, **options
    )


ODD_NAMES = (
    b"Song [live].wav",
    b"a [/b] c.wav",
    b":smile: Bj\xc3\xb6rk.wav",
    b"latin \xe9t\xe9.wav",
    b"two\nlines \x1b[31m.wav",
)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_are_shown_as_they_are(
    server: ServerProcess, tmp_path: pathlib.Path, encoding: str
) -> None:
    source = write_wav(tmp_path / "source.wav", tone("pop"))
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD_NAMES:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)  # "a [" is a folder
        shutil.copy(source, path)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for flags in ([], ["--csv"], ["--json"]):
        done = run_client(server, *flags, folder, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        printed = done.stdout.decode(encoding)
        for part in ("Song [live].wav", "a [/b] c.wav", ":smile: Bj"):
            assert part in printed
        assert "\x1b" not in printed or flags == ["--csv"]
    broken = folder / "no song [live] \udce9.wav"
    broken.write_bytes(b"x")
    done = run_client(server, broken, env=environment)
    assert done.returncode == 1
    assert done.stderr.decode(encoding).startswith("error: ")
    assert r"no song [live] \udce9.wav is not audio" in done.stderr.decode(encoding)


def test_piped_names_are_not_wrapped(server: ServerProcess, tmp_path: pathlib.Path) -> None:
    name = "a very long name, with words, " * 5 + "indeed.wav"
    write_wav(tmp_path / name, tone("pop"))
    write_wav(tmp_path / "other.wav", tone("jazz"))
    lines = run_client(server, tmp_path, text=True).stdout.splitlines()
    assert sum(name in line for line in lines) == 1
    assert not any(line.endswith(" ") for line in lines)
    assert len(lines) == 4  # a head, two songs, the model


def test_reader_that_goes_away_ends_it_quietly(
    server: ServerProcess, tmp_path: pathlib.Path
) -> None:
    for index in range(12):
        write_wav(tmp_path / f"{index}.wav", tone("pop"))
    for flags in ("", "--json", "--csv"):
        command = f"{sys.executable} -m serving.client --server {server.address} {flags} {tmp_path}"
        done = subprocess.run(
            ["bash", "-c", f"{command} | head -c 1; exit ${{PIPESTATUS[0]}}"],
            cwd=REPOSITORY,
            capture_output=True,
        )
        assert done.stderr == b"", flags
        assert done.returncode in (0, 141)
        assert len(done.stdout) == 1


@pytest.mark.parametrize(
    "flags",
    [["--concurrency", "0"], ["--concurrency", "x"], ["--timeout", "nan"], ["--timeout", "1e308"]],
)
def test_wrong_command_line_exits_with_2(flags: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*flags, "song.wav"])
    assert caught.value.code == 2
    assert "Received:" in capsys.readouterr().err
