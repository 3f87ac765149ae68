"""Files wherever and whatever they are called: nested, odd names, no decoder, no permission."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.audio import codec
from components.common.errors import UserError
from components.example_gen import files, lists, report, tracks
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


def write_nested(folder: Path) -> Path:
    """Three genres whose names are no ASCII letters, four nested tracks each."""
    for genre, folder_name in zip(GENRES, ("R&B", "Ma\u0308rz [Live]", "新音"), strict=True):
        for number in range(4):
            path = folder / folder_name / "Band" / f"Album {number % 2}" / f"0{number // 2}.wav"
            write(path, wav(10 * GENRES.index(genre) + number))
    return folder


NESTED = {
    f"{genre}.Band/Album {album}/0{number}"
    for genre in GENRES
    for album in (0, 1)
    for number in (0, 1)
}
FORMATS = ("au", "flac", "mp3", "ogg")
BAD = {
    "no sound.wav": (b"this is no sound" * 99, tracks.NOT_AUDIO),
    "empty.wav": (b"", tracks.EMPTY),
    "short.wav": (wav(1, 2.9), tracks.TOO_SHORT),
    "silent.wav": (codec.encode_wav(np.zeros(99_000), 22_050), tracks.SILENT),
    "song.m4a": (b"\0\0\0\x20ftypM4A " + bytes(500), tracks.NOT_AUDIO),
    "Band/copy.wav": (wav(10), tracks.DUPLICATE),  # of märz [live]'s first
}
ODD_NAMES = ("AC\\DC", "what?", "a*b", "[/b]", "\x1b[31mred", "two\nlines", "Ö", "=1+2")


def ingest(folder: Path, output: Path):
    """The split of each record, the report's content and its artifact."""
    settings = world.ingest_settings(genres=GENRES, max_rejected=0.5)
    examples, artifact = world.run_executor(folder, output, settings, as_user=plain_user)
    split_of = {
        record["track_id"].decode(): split
        for split in SPLITS
        for record in world.read_split(examples, split)
    }
    return split_of, json.loads(Path(artifact.uri, "report.json").read_text()), artifact


@pytest.fixture(scope="module")
def odd():
    """A folder with everything in it that is hard to read, ingested by a plain user."""
    # pytest's own folders are closed to others.
    base = Path(tempfile.mkdtemp(prefix="gatefold-"))
    music = write_nested(base / "my music (für alle)")
    write(music / "R&B" / latin1(b"caf\xe9.wav"), wav(90))
    write(music / "R&B" / latin1(b"alb\xfcm") / "song.wav", wav(91))
    for number, name in enumerate(ODD_NAMES):
        write(music / "R&B" / f"{name}.wav", wav(60 + number))
    write(music / "loose.wav", wav(70))
    write(music / "polka" / "01.wav", wav(71))
    for name, (content, _) in BAD.items():
        write(music / "R&B" / name, content)
    soundfile.write(music / "R&B" / "nan.wav", np.full(99_000, np.nan), 22_050, subtype="FLOAT")
    for number, kind in enumerate(FORMATS):
        stereo = np.stack([world.sound(900 + number, seconds=9)] * 2, axis=1)
        soundfile.write(music / "R&B" / f"song {kind}.{kind}", stereo, 44_100)
    (music / "R&B" / "cover.jpg").write_bytes(b"picture")
    (music / "R&B" / ".DS_Store").write_bytes(b"junk")
    (music / "R&B" / "dangling.wav").symlink_to("gone.wav")
    os.mkfifo(music / "R&B" / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(music / "R&B" / "socket.wav"))
    (music / "R&B" / "device.wav").symlink_to("/dev/zero")
    shutil.copytree(music / "R&B" / "Band" / "Album 0", music / "R&B" / "closed")
    write(music / "新音" / "own.wav", wav(95))
    (base / "out").mkdir()
    for path in [base, *base.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o777)
    (music / "R&B" / "closed").chmod(0)
    (music / "新音" / "own.wav").chmod(0)
    yield music, *ingest(music, base / "out")
    shutil.rmtree(base)


def test_nested_folders_are_read_and_equal_names_in_two_albums_are_two_tracks(odd):
    _, split_of, _, artifact = odd
    assert split_of.keys() == NESTED | {
        f"R&B.{name}" for name in (*ODD_NAMES, *(f"song {kind}" for kind in FORMATS))
    }
    assert artifact.get_int_custom_property("tracks") == len(split_of)
    assert odd[2]["sample_rates_hz"] == {"22050": len(NESTED) + len(ODD_NAMES), "44100": 4}


def test_what_cannot_be_read_is_left_out_by_a_printable_name_with_its_reason(odd):
    content = odd[2]
    rejected = {one["path"]: one["reason"] for one in content["rejected"]}
    assert rejected == {
        **{f"R&B/{name}": reason for name, (_, reason) in BAD.items()},
        "R&B/nan.wav": tracks.NOT_A_NUMBER,
        "R&B/dangling.wav": tracks.UNREADABLE,
        "polka/01.wav": tracks.UNKNOWN_GENRE,
        r"R&B/caf\xe9.wav": tracks.NOT_UTF8,
        r"R&B/alb\xfcm/song.wav": tracks.NOT_UTF8,
        "loose.wav": tracks.UNKNOWN_GENRE,
        "R&B/pipe.wav": tracks.UNREADABLE,
        "R&B/socket.wav": tracks.UNREADABLE,
        "R&B/device.wav": tracks.UNREADABLE,
        "R&B/closed": tracks.UNREADABLE,
        "新音/own.wav": tracks.UNREADABLE,
    }
    details = {one["path"]: one["detail"] for one in content["rejected"]}
    assert {details[f"R&B/{name}.wav"] for name in ("pipe", "socket", "device")} == {
        "not a regular file"
    }
    assert "Permission denied" in details["R&B/closed"]
    assert details["新音/own.wav"] == "Permission denied"
    assert content["faulty"] == len(rejected) - 1


def test_the_terminal_the_table_and_the_summary_say_the_same(odd):
    _, _, content, artifact = odd
    text = report.as_text(content)
    assert "\x1b" not in text and "loose.wav: unknown genre folder" in text
    control = {"path": "a\x1b[31m.wav", "reason": "x", "detail": "", "fault": True}
    assert r"a\x1b[31m.wav" in report.as_text({**content, "rejected": [control]})
    properties = {
        **{name: artifact.get_int_custom_property(name) for name in ("tracks", "rejected")},
        "reasons": artifact.get_string_custom_property("reasons"),
    }
    sentence = report.as_sentence(properties)
    assert sentence.startswith("24 tracks accepted, 17 files left out: 6 unreadable, 2 name is not")


def test_a_changed_an_added_and_a_removed_file_move_no_other_track(odd):
    folder, before, _, _ = odd
    (folder / "R&B" / latin1(b"caf\xe9.wav")).unlink()
    write(folder / "R&B" / "Band" / "Album 0" / "00.wav", wav(200))
    write(folder / "R&B" / "new.wav", wav(201))
    after = ingest(folder, folder.parent / "out" / "again")[0]
    assert after.keys() - before.keys() == {"R&B.new"}
    assert {track for track, split in before.items() if after[track] != split} == set()


def test_a_file_that_has_become_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(OSError, match="not a regular file"):
        files.read(str(tmp_path / "a.wav"))


def test_a_file_without_a_decoder_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    data = b"\0\0\0\x20ftypM4A " + bytes(500)
    found = tracks.examine(tracks.identify("R&B/song.m4a", GENRES), data, world.SHORT)
    assert found.fault == "no decoder" and "ffmpeg" in found.detail


def test_a_data_folder_that_is_closed_or_missing_is_reported(odd):
    closed = odd[0].parent / "closed"
    closed.mkdir(mode=0)
    with plain_user(), pytest.raises(IngestError, match=r"Permission denied.*Received: .*/closed$"):
        files.find_tracks(str(closed), GENRES)
    with pytest.raises(UserError, match="no folder of music"):
        files.audio_paths(str(odd[0].parent / "nowhere"))


def test_a_link_to_a_folder_is_followed_and_a_circle_ends(tmp_path):
    music = write_nested(tmp_path / "music")
    (music / "R&B" / "again").symlink_to(music / "R&B")
    (music / "R&B" / "itself").symlink_to("itself")
    write(tmp_path / "elsewhere" / "linked.wav", wav(97))
    (music / "R&B" / "more").symlink_to(tmp_path / "elsewhere")
    paths = [file.path for file in files.find_tracks(str(music), GENRES).files]
    assert len(paths) == 13
    assert [path for path in paths if path.startswith("R&B/")] == [
        *(f"R&B/Band/Album {album}/0{number}.wav" for album in (0, 1) for number in (0, 1)),
        "R&B/more/linked.wav",
    ]


@pytest.mark.parametrize(
    ("count", "linked"),
    [
        (7, lambda number, count: range(count)),  # each to all
        (25, lambda number, count: [number + 1, number + 1] if number + 1 < count else []),
    ],
    ids=["circles", "two ways each"],
)
def test_folders_that_link_to_each_other_are_listed_in_time(tmp_path, count, linked):
    """There are millions of paths to some of their files."""
    folders = [tmp_path / "rock" / str(number) for number in range(count)]
    for folder in folders:
        write(folder / "song.wav", b"RIFF")
    for number, folder in enumerate(folders):
        for name, other in enumerate(linked(number, count)):
            (folder / f"link {name}").symlink_to(folders[other])
    paths = files.audio_paths(str(tmp_path))
    assert {f"rock/{number}/song.wav" for number in range(count)} <= {*paths}
    assert len(paths) <= count * (1 + 2 * count**2)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff{", None], ids=["deep", "bytes", "pipe"])
def test_a_manifest_that_is_none_marks_no_composed_music(tmp_path, content):
    if content is None:
        os.mkfifo(tmp_path / "sample.json")
    else:
        (tmp_path / "sample.json").write_bytes(content)
    assert not files.is_composed(str(tmp_path))


def test_a_track_list_holds_no_formula_for_spreadsheets():
    assert lists.csv_line(["train", "=1+2/a.wav", -2.5]) == "train,'=1+2/a.wav,-2.5"
