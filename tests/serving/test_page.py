"""The page in a real browser: Debian's chromium, driven by Playwright."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from serving.client import GenreClient
from serving.page.charts import log_mel, spectrogram
from serving.page.player import peaks, player_html, sound_url
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def page_url(server: ServerProcess) -> Iterator[str]:
    """The page, asking the shared server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serving.app", "--server", server.address]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, "the page did not start"
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_url: str):
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(40_000)
    page.goto(page_url)
    page.locator("input[type=file]").wait_for(state="attached")
    yield page
    page.close()


def upload(page, path: pathlib.Path) -> None:
    page.locator("input[type=file]").set_input_files(str(path))


def write_song(folder: pathlib.Path, genre: str) -> pathlib.Path:
    path = folder / f"{genre}.wav"
    soundfile.write(path, tone(genre, seconds=12), SETTINGS.sample_rate_hz)
    return path


def first_bar(page, chart: int = 0) -> str:
    """The genre at the top of the bar chart: plotly draws the axis from the bottom."""
    labels = page.locator(".js-plotly-plot").nth(chart).locator(".yaxislayer-above text")
    labels.first.wait_for()
    return labels.last.text_content().strip()


@pytest.mark.slow
def test_song_is_dropped_and_its_genre_shown(page, tmp_path: pathlib.Path) -> None:
    upload(page, write_song(tmp_path, "jazz"))
    page.get_by_role("heading", name="jazz.wav: jazz, 100%").wait_for()
    assert first_bar(page) == "jazz"
    page.get_by_text("Spectrogram").wait_for()
    player = page.frame_locator("iframe").first
    player.locator("audio").wait_for()
    assert player.locator("#genre").inner_text().startswith("jazz")
    assert player.locator("#time").inner_text() == "0:00 / 0:12"
    assert player.locator("#legend").inner_text().strip() == "jazz"
    # A click in the waveform plays from there.
    box = player.locator("#wave").bounding_box()
    player.locator("#wave").click(position={"x": box["width"] / 2, "y": 50})
    heard = player.locator("audio").evaluate("sound => sound.currentTime")
    assert heard == pytest.approx(6, abs=1.5)


@pytest.mark.slow
def test_file_that_is_no_music_is_answered_with_a_sentence(page, tmp_path: pathlib.Path) -> None:
    text = tmp_path / "lyrics.txt"
    text.write_text("la la la")
    upload(page, text)
    alert = page.get_by_role("alert")
    alert.get_by_text(re.compile("lyrics.txt is not audio")).wait_for()
    short = tmp_path / "short.wav"
    soundfile.write(short, tone("pop", seconds=1), SETTINGS.sample_rate_hz)
    upload(page, short)  # it takes the other's place
    alert.get_by_text(re.compile("too short: at least 3 s")).wait_for()
    assert page.get_by_text("Traceback").count() == 0


@pytest.mark.slow
def test_two_versions_are_compared_side_by_side(page, tmp_path: pathlib.Path) -> None:
    upload(page, write_song(tmp_path, "metal"))
    page.get_by_role("heading", name="metal.wav: metal, 100%").wait_for()
    page.get_by_text("Compare with another").click()
    page.get_by_text("They differ:").wait_for()
    assert "agree in 0 of" in page.get_by_text("They differ:").inner_text()
    assert {first_bar(page, 0), first_bar(page, 2)} == {"metal", "pop"}


@pytest.mark.slow
def test_example_is_composed_and_classified(page) -> None:
    page.get_by_text("Examples", exact=True).click()
    page.get_by_text("reggae", exact=True).click()
    page.get_by_role("heading", name=re.compile(r"reggae-example\.wav: ")).wait_for()
    page.frame_locator("iframe").first.locator("audio").wait_for()


def test_peaks_follow_the_sound() -> None:
    samples = np.concatenate([0.25 * np.ones(1000), np.zeros(1000), -0.5 * np.ones(2000)])
    np.testing.assert_allclose(peaks(samples, 4), [0.5, 0, 1, 1])
    assert peaks(np.zeros(10), 2).tolist() == [0, 0]


def test_spectrogram_shows_a_tone_where_it_is() -> None:
    import librosa

    samples = tone("disco")  # 2800 Hz
    brightest = log_mel(samples, SETTINGS).mean(axis=1).argmax()
    frequencies = librosa.mel_frequencies(n_mels=SETTINGS.mel_bins, fmax=11_025, htk=True)
    assert frequencies[brightest - 2] < 2800 < frequencies[brightest + 2]
    assert len(spectrogram(samples, SETTINGS).data[0].z) == SETTINGS.mel_bins


def test_player_carries_any_name_safely(server: ServerProcess) -> None:
    with GenreClient(server.address) as client:
        samples = tone("rock")
        prediction = client.classify_samples(samples)
    page = player_html("data:audio/wav;base64,</script>", samples, [prediction])
    data = page.split("const data = ")[1].split(";\nconst sound")[0]
    assert "</" not in data
    assert json.loads(data)["timelines"][0]["windows"][0]["genre"] == "rock"


def test_browser_gets_a_format_that_it_plays() -> None:
    samples = tone("pop")
    assert sound_url(b"ID3", "a.mp3", samples, 22_050).startswith("data:audio/mpeg;")
    assert sound_url(b".snd", "a.au", samples, 22_050).startswith("data:audio/wav;")
