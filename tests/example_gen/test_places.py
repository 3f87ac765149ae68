"""Files wherever and whatever they are called: nested, odd names, no decoder, no permission."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import soundfile

from components.audio import codec
from components.common.errors import UserError
from components.example_gen import files, report, tracks
from components.example_gen.component import fingerprint
from components.example_gen.files import IngestError
from components.gtzan.splits import SPLITS
from tests.example_gen import conftest as world

GENRES = ("R&B", "m\u00e4rz [live]", "新 音")


def wav(seed: int, seconds: float = 4.2) -> bytes:
    return codec.encode_wav(world.sound(seed, seconds), world.SHORT.sample_rate_hz)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def latin1(name: bytes) -> str:
    """A name that is not UTF-8, as Python holds it."""
    return os.fsdecode(name)


@pytest.fixture
def music(tmp_path) -> Path:
    """Three genres whose names are no ASCII letters, four nested tracks each."""
    folder = tmp_path / "my music (für alle)"
    for genre, folder_name in zip(GENRES, ("R&B", "Ma\u0308rz [Live]", "新音"), strict=True):
        for number in range(4):
            path = folder / folder_name / "Band" / f"Album {number % 2}" / f"0{number // 2}.wav"
            write(path, wav(10 * GENRES.index(genre) + number))
    return folder


def ingest(folder: Path, output: Path, as_user=contextlib.nullcontext, **changes):
    """Runs the executor: the ids by split, the report, and its artifact."""
    settings = world.ingest_settings(genres=GENRES, **{"max_rejected": 0.5, **changes})
    examples, artifact = world.run_executor(folder, output, settings, as_user=as_user)
    ids = {
        record["track_id"].decode()
        for split in SPLITS
        for record in world.read_split(examples, split)
    }
    return ids, json.loads(Path(artifact.uri, "report.json").read_text()), artifact


def test_nested_folders_are_read_and_equal_names_in_two_albums_are_two_tracks(music, tmp_path):
    ids, summary, artifact = ingest(music, tmp_path / "out")
    assert ids == {
        f"{genre}.Band/Album {album}/0{number}"
        for genre in GENRES
        for album in (0, 1)
        for number in (0, 1)
    }
    assert summary["rejected"] == []
    properties = {"tracks": 12, "rejected": 0, "reasons": "{}"}
    assert report.as_sentence(properties) == "12 tracks accepted, no file left out"
    assert artifact.get_int_custom_property("tracks") == 12


def test_one_name_that_is_not_utf8_is_left_out_by_a_printable_name(music, tmp_path):
    write(music / "R&B" / latin1(b"caf\xe9.wav"), wav(90))
    write(music / "R&B" / latin1(b"alb\xfcm") / "song.wav", wav(91))
    before = fingerprint(str(music), world.ingest_settings(genres=GENRES))
    ids, summary, artifact = ingest(music, tmp_path / "out")
    assert len(ids) == 12
    assert {one["path"]: one["reason"] for one in summary["rejected"]} == {
        r"R&B/caf\xe9.wav": tracks.NOT_UTF8,
        r"R&B/alb\xfcm/song.wav": tracks.NOT_UTF8,
    }
    assert summary["faulty"] == 2
    properties = {
        "tracks": artifact.get_int_custom_property("tracks"),
        "rejected": artifact.get_int_custom_property("rejected"),
        "reasons": artifact.get_string_custom_property("reasons"),
    }
    expected = "12 tracks accepted, 2 files left out: 2 name is not UTF-8"
    assert report.as_sentence(properties) == expected
    (music / "R&B" / latin1(b"caf\xe9.wav")).unlink()
    assert fingerprint(str(music), world.ingest_settings(genres=GENRES)) != before


def test_names_with_marks_and_loose_files_are_read_or_named(music, tmp_path):
    for number, name in enumerate(("AC\\DC", "what?", "a*b", "[/b]", "\x1b[31mred", "two\nlines")):
        write(music / "R&B" / f"{name}.wav", wav(60 + number))
    write(music / "loose.wav", wav(70))
    write(music / "R&B" / "Ö.wav", wav(71))
    ids, summary, _ = ingest(music, tmp_path / "out")
    assert {"R&B.AC\\DC", "R&B.what?", "R&B.a*b", "R&B.[/b]", "R&B.two\nlines", "R&B.Ö"} <= ids
    assert [(one["path"], one["reason"]) for one in summary["rejected"]] == [
        ("loose.wav", tracks.UNKNOWN_GENRE)
    ]
    assert "loose.wav: unknown genre folder (in no genre's folder)" in report.as_text(summary)


def test_a_report_shows_no_control_codes():
    rejected = [{"path": "a\x1b[31m.wav", "reason": "x", "detail": "", "fault": True}]
    summary = {"tracks": {"a": {}}, "splits": {}, "accepted": 0, "files": 1, "faulty": 1}
    text = report.as_text(
        {**summary, "rejected": rejected, "reasons": {}, "unmatched": 0, "near_duplicates": []}
    )
    assert "\x1b" not in text and r"a\x1b[31m.wav" in text


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg writes the file")
def test_formats_of_ffmpeg_are_read_if_it_is_installed(music, tmp_path):
    song = tmp_path / "song.wav"
    song.write_bytes(wav(80, seconds=5))
    for suffix in ("m4a", "opus", "aiff", "wma", "aac"):
        target = music / "R&B" / f"song.{suffix}"
        subprocess.run(["ffmpeg", "-v", "error", "-i", song, target], check=True)
        found = tracks.examine(
            tracks.identify(f"R&B/song.{suffix}", GENRES), target.read_bytes(), world.SHORT
        )
        assert not found.fault, found
        assert found.duration_seconds == pytest.approx(5, abs=0.1)


_WITHOUT_FFMPEG = """
import sys
from components.audio import codec
try:
    codec.decode(open(sys.argv[1], "rb").read(), name="a/song.m4a", sample_rate_hz=22050)
except codec.AudioError as error:
    print(error.kind, "|", error)
"""


def test_files_without_a_decoder_are_reported(music, tmp_path):
    write(music / "R&B" / "song.m4a", b"\0\0\0\x20ftypM4A " + bytes(500))
    (music / "R&B" / "cover.jpg").write_bytes(b"picture")
    _, summary, _ = ingest(music, tmp_path / "out")
    assert [one["path"] for one in summary["rejected"]] == ["R&B/song.m4a"]
    assert summary["rejected"][0]["fault"]
    # A process of its own whose PATH holds no ffmpeg.
    said = subprocess.run(
        [sys.executable, "-c", _WITHOUT_FFMPEG, music / "R&B" / "song.m4a"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("no decoder | a/song.m4a has no decoder: install ffmpeg, which reads")


@contextlib.contextmanager
def plain_user():
    """Runs as `nobody` where the tests run as root, whom no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def everybody_s(music):
    """The music where a plain user may go, with a place to write."""
    # pytest's own folders are closed to others.
    base = Path(tempfile.mkdtemp(prefix="gatefold-"))
    shutil.copytree(music, base / "music")
    (base / "out").mkdir()
    for path in [base, *base.rglob("*")]:
        path.chmod(0o777)
    yield base
    shutil.rmtree(base)


def test_unreadable_files_and_folders_are_reported_to_an_unprivileged_user(everybody_s):
    data = everybody_s / "music"
    shutil.copytree(data / "R&B" / "Band" / "Album 0", data / "R&B" / "closed")
    write(data / "新音" / "own.wav", wav(95))
    (data / "R&B" / "closed").chmod(0)
    (data / "新音" / "own.wav").chmod(0)
    ids, summary, _ = ingest(data, everybody_s / "out", as_user=plain_user)
    with plain_user():
        assert fingerprint(str(data), world.ingest_settings(genres=GENRES))
    assert len(ids) == 12
    rejected = {one["path"]: (one["reason"], one["detail"]) for one in summary["rejected"]}
    assert rejected == {
        "R&B/closed": (
            tracks.UNREADABLE,
            "the folder cannot be looked into: Permission denied",
        ),
        "新音/own.wav": (tracks.UNREADABLE, "Permission denied"),
    }


def test_an_unreadable_data_folder_is_reported(everybody_s):
    (everybody_s / "music").chmod(0)
    with (
        plain_user(),
        pytest.raises(IngestError, match=r"Permission denied.*Received: .*/music$"),
    ):
        files.find_tracks(str(everybody_s / "music"), GENRES)


def test_a_link_to_a_folder_is_followed_and_a_circle_ends(music):
    (music / "R&B" / "again").symlink_to(music / "R&B")
    (music / "R&B" / "itself").symlink_to("itself")
    elsewhere = music.parent / "elsewhere"
    write(elsewhere / "linked.wav", wav(97))
    (music / "R&B" / "more").symlink_to(elsewhere)
    found = files.find_tracks(str(music), GENRES)
    paths = [files.relative(file.path, found.folder) for file in found.files]
    assert len(paths) == 13
    assert [path for path in paths if path.startswith("R&B/")] == [
        *(f"R&B/Band/Album {album}/0{number}.wav" for album in (0, 1) for number in (0, 1)),
        "R&B/more/linked.wav",
    ]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3", "OGG"])
def test_a_file_that_breaks_off_is_as_long_as_what_is_left(kind):
    buffer = io.BytesIO()
    soundfile.write(buffer, world.sound(3, 20).astype("f4"), 22_050, format=kind)
    data = buffer.getvalue()[: len(buffer.getvalue()) // 3]
    found = tracks.examine(tracks.identify("R&B/a.wav", GENRES), data, world.SHORT)
    if found.fault:
        assert found.fault == tracks.NOT_AUDIO
    else:
        assert found.duration_seconds == pytest.approx(20 / 3, rel=0.15)
        assert found.silent_fraction < 0.1


def test_a_changed_and_an_added_track_move_no_other(music, tmp_path):
    _, before, _ = ingest(music, tmp_path / "one")
    first = split_members(tmp_path / "one")
    write(music / "R&B" / "Band" / "Album 0" / "00.wav", wav(200))
    write(music / "R&B" / "new.wav", wav(201))
    ingest(music, tmp_path / "two")
    second = split_members(tmp_path / "two")
    moved = {track for track, split in first.items() if second[track] != split}
    assert second.keys() - first.keys() == {"R&B.new"}
    assert moved == set() and before["accepted"] == 12


def split_members(output: Path) -> dict[str, str]:
    lines = (output / "report" / "tracks-00000-of-00001.csv").read_text().splitlines()[1:]
    return {line.split(",")[2]: line.split(",")[0] for line in lines}


def test_user_errors_are_one_sentence_with_the_place(tmp_path):
    with pytest.raises(UserError, match="no folder of music"):
        files.audio_paths(str(tmp_path / "nowhere"))
