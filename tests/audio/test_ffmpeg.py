"""Files for ffmpeg: what it decodes is right, and no file makes it open another or an address."""

import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.audio import codec, ffmpeg, streaming
from tests.conftest import ROOT

RATE = 22_050

pytestmark = pytest.mark.skipif(not ffmpeg.is_installed(), reason="needs ffmpeg")


def sine(seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype("f4")


def convert(source: Path, target: Path, *flags: str) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *flags, target], check=True)
    return target


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "source.wav"
    soundfile.write(path, np.stack([sine(4, 48_000)] * 2, axis=1), 48_000)
    return path


def read_all(path: Path) -> tuple[np.ndarray, streaming.SoundStream]:
    with streaming.open_sound(path, name=path.name) as sound:
        return np.concatenate(list(sound.blocks(RATE))), sound


@pytest.mark.parametrize(
    ("suffix", "flags"),
    [
        ("m4a", ["-c:a", "aac", "-b:a", "192k"]),
        ("m4a", ["-c:a", "alac"]),
        ("aac", []),
        ("wma", []),
        ("mka", ["-c:a", "aac"]),
        ("ac3", []),
        ("wv", []),
        ("m4a", ["-ac", "6", "-ar", "96000"]),
    ],
)
def test_a_tone_keeps_its_pitch_level_and_length(song: Path, tmp_path: Path, suffix, flags) -> None:
    path = convert(song, tmp_path / f"song.{suffix}", *flags)
    samples, sound = read_all(path)
    middle = samples[RATE : 3 * RATE]
    assert len(samples) == pytest.approx(4 * RATE, abs=0.15 * RATE)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * RATE / len(middle) == pytest.approx(440, abs=1)
    if "6" in flags:
        assert (sound.source_sample_rate_hz, sound.source_channels) == (96_000, 6)
    else:
        assert (sound.source_sample_rate_hz, sound.source_channels) == (48_000, 2)
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    whole = codec.decode(path.read_bytes(), name=path.name, sample_rate_hz=RATE)
    np.testing.assert_allclose(whole.samples, samples, atol=1e-6)


_PEAK = """
import resource, sys
from components.audio import codec
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sound = codec.decode(data, name="a.mka", sample_rate_hz=22_050, middle_seconds=4)
print(sound.duration_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_that_of_a_block_whatever_the_channels_the_rate_and_the_length(tmp_path) -> None:
    """As 16-bit PCM the sound would take 184 MB."""
    path = tmp_path / "long.mka"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=192000:cl=7.1", "-t", "60"]
    subprocess.run(["ffmpeg", "-v", "error", *silence, "-c:a", "flac", path], check=True)
    command = [sys.executable, "-c", _PEAK, path]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    seconds, grown_kib = map(float, output.split())
    assert seconds == pytest.approx(60, abs=0.1)
    assert grown_kib < 60_000


def test_pictures_in_a_song_are_passed_over(song: Path, tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "color=red:s=16x16:d=1:r=1"]
    path = convert(song, tmp_path / "song.m4a", *picture, "-map", "0:a", "-map", "1:v")
    assert len(read_all(path)[0]) == pytest.approx(4 * RATE, abs=0.15 * RATE)


@pytest.fixture
def web(tmp_path: Path):
    """A web server on loopback that counts who asks; its files are those of `web/`."""
    folder = tmp_path / "web"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(folder), **options)

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def hostile(address: str, secret: Path) -> dict[str, bytes]:
    """Files that name others: by address, and of this machine."""
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S"'
        ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
        'mimeType="audio/mp4"><Representation id="0" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    concat = "ffconcat version 1.0\nfile '{}'\n"
    remote, local = f"{address}/song.aac", str(secret)
    return {
        "hls, an address": playlist.format(remote).encode(),
        "hls, a file": playlist.format(local).encode(),
        "dash, an address": dash.format(remote).encode(),
        "concat, an address": concat.format(remote).encode(),
        "concat, a file": concat.format(local).encode(),
        "rtsp in sdp": b"v=0\r\nm=audio 5004 RTP/AVP 0\r\nc=IN IP4 127.0.0.1\r\n",
    }


@pytest.mark.parametrize("suffix", ["m4a", "wav"])
def test_a_file_that_names_others_opens_none(song: Path, tmp_path: Path, web, suffix) -> None:
    folder, address, asked = web
    secret = convert(song, tmp_path / "secret.aac")
    shutil.copy(secret, folder / "song.aac")
    for kind, content in hostile(address, secret).items():
        path = tmp_path / f"song.{suffix}"
        path.write_bytes(content)
        with pytest.raises(codec.AudioError, match="is not audio"):
            read_all(path)
        with pytest.raises(codec.AudioError, match="is not audio"):
            codec.decode(content, name=path.name, sample_rate_hz=RATE)
        assert asked == [], kind


def test_ffmpeg_opens_them_where_it_takes_them_for_playlists(
    song: Path, tmp_path: Path, web
) -> None:
    """The files above do what they are meant to, so the test of them can fail.

    Since 7.1 ffmpeg by itself takes no playlist that is named `.m4a`; before, it did.
    """
    folder, address, asked = web
    secret = convert(song, tmp_path / "secret.aac")
    shutil.copy(secret, folder / "song.aac")
    contents = hostile(address, secret)
    path = tmp_path / "song.m4a"
    path.write_bytes(contents["hls, a file"])
    read = ["ffmpeg", "-v", "quiet", "-f", "hls", "-i", path, "-f", "s16le", "-"]
    assert len(subprocess.run(read, capture_output=True).stdout) > 100_000
    path.write_bytes(contents["hls, an address"])
    subprocess.run(
        ["ffmpeg", "-v", "quiet", "-protocol_whitelist", "file,http,tcp", *read[3:]],
        capture_output=True,
    )
    assert asked


def test_names_are_names_and_not_addresses(song: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "concat:a|b"
    folder.mkdir()
    convert(song, folder / "-i http:x.m4a")
    monkeypatch.chdir(folder)
    assert len(read_all(Path("-i http:x.m4a"))[0]) > 3 * RATE


def test_a_file_that_is_left_in_the_middle_leaves_no_process(song: Path, tmp_path: Path) -> None:
    path = convert(song, tmp_path / "song.m4a", "-af", "aloop=loop=9:size=2e8")
    with streaming.open_sound(path, name=path.name) as sound:
        next(sound.blocks(RATE))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
    assert "ffmpeg" not in names


def test_a_broken_file_leaves_no_open_file(tmp_path: Path, recwarn) -> None:
    """`RIFF` alone once left the file to the collector, which warns of it."""
    import gc

    path = tmp_path / "broken.wav"
    for content in (b"RIFF", b"FORM", b"RIFF\0\0\0\0WAVE", b".snd"):
        path.write_bytes(content)
        with pytest.raises(codec.AudioError, match=r"broken\.wav is not audio"):
            read_all(path)
        with pytest.raises(codec.AudioError, match=r"broken\.wav is not audio"):
            codec.decode(io.BytesIO(content).read(), name="broken.wav", sample_rate_hz=RATE)
    gc.collect()
    assert [str(one.message) for one in recwarn if one.category is ResourceWarning] == []
