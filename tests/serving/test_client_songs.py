"""Songs as people have them: odd names, odd files, hours long, silent, in formats for ffmpeg."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from components.audio import codec
from components.common.errors import UserError
from serving.client import GenreClient, songs
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone


@pytest.fixture(scope="module")
def client(server: ServerProcess):
    with GenreClient(server.address) as client:
        yield client


def write_wav(path: pathlib.Path, samples: np.ndarray) -> pathlib.Path:
    soundfile.write(path, samples, SETTINGS.sample_rate_hz)
    return path


def test_parts_end_where_clips_do_and_a_short_rest_stays_with_the_last() -> None:
    clip, rate = SETTINGS.clip_samples, SETTINGS.sample_rate_hz
    for seconds, expected in (
        (3, [3 * rate]),
        (300, [10 * clip]),
        (302, [10 * clip + 2 * rate]),
        (304, [10 * clip, 4 * rate]),
        (920, [10 * clip, 10 * clip, 10 * clip, 20 * rate]),
    ):
        sound = np.resize(np.array([0.1, -0.1], np.float32), seconds * rate)
        blocks = np.array_split(sound, max(1, len(sound) // 100_000))
        parts = list(songs.cut(iter(blocks), name="a"))
        assert [len(part) for part in parts] == expected, seconds


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
    for samples, reason in (
        (broken, "not numbers"),
        (integers, r"in \[-1, 1\]; divide 16-bit values by 32768. Received: values up to 16"),
        (integers.astype(np.int16), "divide 16-bit values by 32768. Received: int16"),
        (np.stack([sound, sound]), "mono"),
    ):
        with pytest.raises(UserError, match=reason):
            client.classify_samples(samples)


def test_silence_has_no_genre(client: GenreClient, tmp_path: pathlib.Path) -> None:
    silent = write_wav(tmp_path / "silent.wav", np.zeros(5 * SETTINGS.sample_rate_hz))
    with pytest.raises(UserError, match=r"silent\.wav is silent \(nothing reaches -80 LUFS\)"):
        client.classify_file(silent)
    quiet = write_wav(tmp_path / "quiet.wav", tone("pop", level=0.001))
    assert client.classify_file(quiet).name == str(quiet)


def test_silent_part_of_a_long_song_does_not_count(
    client: GenreClient, tmp_path: pathlib.Path
) -> None:
    """Five minutes of silence before the hidden track; a released model refuses such a part."""
    silence = np.zeros(songs.PART_SAMPLES, np.float32)
    path = write_wav(tmp_path / "hidden track.wav", np.append(silence, tone("jazz", seconds=30)))
    prediction = client.classify_file(path)
    assert prediction.genre == "jazz"
    assert len(prediction.window_probabilities) == 10
    assert prediction.window_starts_seconds[0] == 300
    assert prediction.duration_seconds == 330


def test_every_broken_wav_gives_a_sentence_that_names_it(client: GenreClient) -> None:
    whole = codec.encode_wav(tone("pop"), SETTINGS.sample_rate_hz)
    for length in (0, 1, 4, 8, 12, 16, 20, 24, 30, 36, 40, 43, 44, 45, 46, 100, 1000):
        with pytest.raises(UserError, match=r"^broken\.wav (is|holds) ") as caught:
            client.classify_bytes(whole[:length], name="broken.wav")
        assert "trying to read string" not in str(caught.value)


def test_files_that_macos_leaves_are_passed_over(
    server: ServerProcess, tmp_path: pathlib.Path
) -> None:
    write_wav(tmp_path / "song.wav", tone("pop"))
    (tmp_path / "._song.wav").write_bytes(b"\0\5\26\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._song.wav").write_bytes(b"\0\5\26\7")
    assert [path.name for path in songs.find_songs([tmp_path])] == ["song.wav"]


@pytest.fixture
def m4a(tmp_path: pathlib.Path) -> pathlib.Path:
    """A song as iTunes keeps them: AAC, 44.1 kHz, stereo."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    source = write_wav(tmp_path / "source.wav", tone("disco", seconds=20))
    path = tmp_path / "song.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-ac", "2", "-ar", "44100", "-c:a", "aac", path],
        check=True,
    )
    return path


def test_m4a_is_read_by_ffmpeg(client: GenreClient, m4a: pathlib.Path) -> None:
    for prediction in (
        client.classify_file(m4a),
        client.classify_bytes(m4a.read_bytes(), name="song.m4a"),
    ):
        assert prediction.genre == "disco"
        assert prediction.duration_seconds == pytest.approx(20, abs=0.2)


def test_m4a_without_ffmpeg_says_what_is_missing(
    client: GenreClient, m4a: pathlib.Path, monkeypatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"song\.m4a has no decoder: install ffmpeg"):
        client.classify_file(m4a)


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


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
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
    [["--concurrency", "0"], ["--concurrency", "x"], ["--timeout", "nan"], ["--timeout", "0"]],
)
def test_wrong_command_line_exits_with_2(flags: list[str], capsys) -> None:
    from serving.client.cli import main

    with pytest.raises(SystemExit) as caught:
        main([*flags, "song.wav"])
    assert caught.value.code == 2
    assert "Received:" in capsys.readouterr().err


def test_csv_has_a_row_a_song(server: ServerProcess, tmp_path: pathlib.Path) -> None:
    import csv

    write_wav(tmp_path / "a, b.wav", tone("pop"))
    (tmp_path / "c.wav").write_bytes(b"x")
    done = run_client(server, "--csv", tmp_path, text=True)
    assert done.returncode == 1
    first, second = csv.DictReader(io.StringIO(done.stdout))
    assert pathlib.Path(first["file"]).name == "a, b.wav"
    assert (first["genre"], first["close"], first["error"]) == ("pop", "no", "")
    assert float(first["probability"]) > 0.9
    assert second["genre"] == "" and "is not audio" in second["error"]
