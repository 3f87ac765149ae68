"""The page in a real browser, wide and narrow, light and dark."""

import csv
import io
import itertools
import json
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import soundfile

from tests.serving.browser import chromium, find_chromium, save_picture
from tests.serving.conftest import OTHER_GENRES
from tests.serving.page_process import PageProcess
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import SETTINGS, tone

pytestmark = pytest.mark.slow

RELEASE = {
    "model": "musicnn",
    "data": "data/synthetic",
    "synthetic": True,
    "pushed_at": "2026-11-22T10:00:00Z",
    "tracks": {"train": 100, "test": 20},
    "test_accuracy": 0.9,
    "test_accuracy_interval": [0.7, 0.97],
}
ODD_NAME = "Björk *live* [b](http:x) $x$ :fire: <i>.wav"


@pytest.fixture(scope="module")
def site(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    """The page, asking the shared server, whose version 2 has a release file."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "genre" / "2" / "assets.extra").mkdir(parents=True)
    (folder / "genre" / "2" / "assets.extra" / "release.json").write_text(json.dumps(RELEASE))
    (folder / "genre" / "2" / "assets.extra" / "index.html").write_text("<h1>The evidence</h1>")
    flags = ["--server", server.address, "--releases", str(folder / "genre")]
    site = PageProcess(folder, flags)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser, site: PageProcess):
    """Opens the page in a colour scheme; fails for what a browser calls an error."""
    pages, errors = [], []

    def open_page(query: str = "", *, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": 1280, "height": 1400}, color_scheme=scheme, accept_downloads=True
        )
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site.url + query)
        page.get_by_role("heading", name="What does it sound like?").wait_for()
        pages.append(context)
        return page

    yield open_page
    for context in pages:
        context.close()
    assert errors == []
    assert "Traceback" not in site.output


def write_song(folder: pathlib.Path, genre: str, name: str = "") -> pathlib.Path:
    path = folder / (name or f"{genre}.wav")
    soundfile.write(path, tone(genre, seconds=12), SETTINGS.sample_rate_hz)
    return path


def upload(page, *paths: pathlib.Path) -> None:
    page.locator("input[type=file]").wait_for(state="attached")
    page.locator("input[type=file]").set_input_files([str(path) for path in paths])


def heading(page, name: str):
    """The heading of a song; spaces in it may be unbreakable."""
    pattern = re.escape(name).replace(r"\ ", r"\s")
    title = page.get_by_role("heading", name=re.compile(pattern))
    title.wait_for()
    return title


def look_at(page, option: str) -> None:
    """Chooses a song of several."""
    page.get_by_role("combobox", name=re.compile("Look at")).click()
    page.get_by_role("option", name=option).click()


def player_of(page):
    player = page.frame_locator("iframe").first
    player.locator("#seek").wait_for()
    return player


def heard_at(player) -> float:
    return player.locator("audio").evaluate("sound => sound.currentTime")


def wait_until_loaded(player) -> None:
    player.locator("audio").evaluate(
        "sound => sound.readyState >= 1 || "
        "new Promise(done => sound.addEventListener('loadedmetadata', () => done()))"
    )


def test_song_is_dropped_and_its_genre_shown_beside_the_release(
    open_page, tmp_path: pathlib.Path
) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "jazz"))
    heading(page, "jazz.wav: jazz 100 %")
    labels = page.locator(".js-plotly-plot .yaxislayer-above text")
    labels.first.wait_for()
    assert labels.last.text_content().strip() == "jazz"  # plotly draws the axis from the bottom
    page.get_by_text("musicnn, trained on synthetic (version 2, 2026-11-22)").first.wait_for()
    page.get_by_text("The whole song, 0:12").wait_for()
    note = page.get_by_text("This model was trained on synthetic music: it knows no real song.")
    note.wait_for()
    player = player_of(page)
    assert player.locator("#genre").inner_text().split() == ["At", "0:00:", "jazz", "100", "%"]
    assert player.locator("#time").inner_text() == "0:00 / 0:12"
    assert player.locator("#legend").inner_text().strip() == "jazz"
    wait_until_loaded(player)
    assert player.locator("audio").evaluate("sound => sound.duration") == pytest.approx(12)
    for row in ("#wave", "#strip", "#shares", "#spectrogram"):
        player.get_by_role("slider").press("Home")
        box = player.locator(row).bounding_box()
        player.locator(row).click(position={"x": 0.75 * box["width"], "y": 10})
        player.locator("audio").evaluate("sound => sound.pause()")
        assert heard_at(player) == pytest.approx(9, abs=1.5), row
        shown = float(player.locator("#seek").get_attribute("aria-valuenow"))
        page.mouse.move(0, 0)
        assert shown == pytest.approx(heard_at(player), abs=0.2)
    # The playhead is at the same place in every row.
    boxes = [player.locator(name).bounding_box() for name in ("#wave", "#shares", "#spectrogram")]
    assert len({(round(box["x"]), round(box["width"])) for box in boxes}) == 1
    page.get_by_role("button", name="What this model is").click()
    accuracy = "0.90 (95 % interval 0.70 to 0.97) of 20 test tracks"
    page.get_by_text(accuracy).wait_for()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="The release's report").click()
    popup.value.get_by_role("heading", name="The evidence").wait_for()


def test_player_is_worked_by_keys_and_read_aloud(open_page, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "two.wav"
    window = SETTINGS.window_samples / SETTINGS.sample_rate_hz
    parts = [tone("rock", seconds=2 * window), tone("pop", seconds=2 * window)]
    soundfile.write(path, np.concatenate(parts), SETTINGS.sample_rate_hz)
    page = open_page()
    upload(page, path)
    player = player_of(page)
    wait_until_loaded(player)
    slider = player.get_by_role("slider", name="Position in the song")
    slider.focus()
    for key, seconds in (("ArrowRight", window), ("ArrowRight", 2 * window), ("Home", 0)):
        slider.press(key)
        assert heard_at(player) == pytest.approx(seconds, abs=0.05)
    assert slider.get_attribute("aria-valuetext") == "0:00 / 0:11, rock 100 %"
    slider.press("End")
    slider.press("ArrowLeft")
    assert "pop" in slider.get_attribute("aria-valuetext")
    spoken = player.get_by_role("list", name="Genres over time").locator("li").all_text_contents()
    assert spoken == ["0:00 to 0:05 rock", "0:05 to 0:11 pop"]


def test_several_songs_give_a_table_with_a_sentence_for_what_is_no_music(
    open_page, tmp_path: pathlib.Path
) -> None:
    text, silent = tmp_path / "lyrics [live].txt", tmp_path / "silent.wav"
    text.write_text("la la la")
    soundfile.write(silent, np.zeros(5 * SETTINGS.sample_rate_hz), SETTINGS.sample_rate_hz)
    page = open_page()
    upload(
        page,
        write_song(tmp_path, "jazz"),
        text,
        silent,
        write_song(tmp_path, "metal", ODD_NAME),
    )
    heading(page, "jazz.wav: jazz 100 %")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(pathlib.Path(download.value.path()).read_text())))
    songs = [(row["file"], row["genre"]) for row in rows]
    assert songs == [("jazz.wav", "jazz"), (text.name, ""), ("silent.wav", ""), (ODD_NAME, "metal")]
    assert "is not audio" in rows[1]["error"] and "is silent" in rows[2]["error"]
    alert = page.get_by_role("alert")
    alert.get_by_text(re.compile(r"lyrics \[live\]\.txt is not audio")).wait_for()
    alert.get_by_text("silent.wav is silent").wait_for()
    look_at(page, "2. Björk")
    heading(page, f"{ODD_NAME}: metal 100 %")
    save_picture(page, "page-several")


def test_any_genres_are_shown_as_they_are(open_page, tmp_path: pathlib.Path) -> None:
    page = open_page()
    page.get_by_role("textbox", name="Name").fill("others")
    page.get_by_role("textbox", name="Name").press("Enter")
    genres = ("country", "disco", "jazz", "metal", "pop")  # whose names there could be markup
    upload(page, *(write_song(tmp_path, genre) for genre in genres))
    # It is the server that says so: --releases has no such version.
    page.get_by_text("This model was trained on synthetic music").first.wait_for()
    for number, genre in enumerate(genres, 1):
        if number > 1:
            look_at(page, f"{number}. {genre}.wav")
        name = OTHER_GENRES[genre]
        page.get_by_role("heading").filter(has_text=f"{genre}.wav: {name} 100").wait_for()
        player_of(page).locator("#legend").get_by_text(name, exact=True).wait_for()
    labels = page.locator(".js-plotly-plot .yaxislayer-above text").all_text_contents()
    assert {label.strip() for label in labels} == set(OTHER_GENRES.values())


def test_link_opens_the_same_example(open_page) -> None:
    page = open_page()
    page.get_by_text("Examples", exact=True).click()
    page.get_by_text("reggae", exact=True).click()
    title = heading(page, "reggae-example.wav: ").inner_text()
    page.wait_for_url(re.compile(r"example=reggae"))
    link = page.get_by_role("link", name="Link to this example").get_attribute("href")
    again = open_page(f"/{link}")
    assert heading(again, "reggae-example.wav: ").inner_text() == title
    assert player_of(again).locator("#time").inner_text().endswith("0:30")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_wide_and_narrow(open_page, scheme: str) -> None:
    page = open_page("/?example=jazz", scheme=scheme)
    heading(page, "jazz-example.wav: ")
    player = player_of(page)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 1400})
        player.locator("#legend i").first.wait_for()
        # The frame takes its player's height a moment later; then nothing of it is cut off.
        frame = page.locator("iframe").first
        for _ in range(50):
            content = player.locator("main")
            needed = content.evaluate("main => main.getBoundingClientRect().bottom")
            if frame.bounding_box()["height"] >= needed - 1:
                break
            page.wait_for_timeout(100)
        assert frame.bounding_box()["height"] >= needed - 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert content.evaluate("main => main.scrollWidth <= innerWidth")
        theme = content.evaluate("() => document.documentElement.dataset.theme")
        assert theme == scheme
        # No two note names overlap.
        notes = player.locator(".row:has(#spectrogram) .gutter span")
        tops = [notes.nth(i).bounding_box()["y"] for i in range(notes.count())]
        assert len(tops) >= 5
        assert all(lower - upper >= 14 for lower, upper in itertools.pairwise(sorted(tops)[::-1]))
        save_picture(page, f"page-{'wide' if width > 1000 else 'narrow'}-{scheme}")
    # Its text is readable on the page's background.
    ink, background = (
        [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
        for colour in (
            player.locator("#time").evaluate("e => getComputedStyle(e).color"),
            page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor"),
        )
    )
    assert abs(np.mean(ink) - np.mean(background)) > 90


def test_long_song_stays_within_memory(
    open_page, site: PageProcess, tmp_path: pathlib.Path
) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "jazz"))
    player_of(page)
    process = psutil.Process(site.pid)
    before = most = process.memory_info().rss
    path = tmp_path / "long.flac"
    minute = tone("rock", seconds=60)
    with soundfile.SoundFile(path, "w", SETTINGS.sample_rate_hz, 1) as file:
        for _ in range(30):
            file.write(minute)
    page.reload()
    upload(page, path)
    for _ in range(120):
        most = max(most, process.memory_info().rss)
        if page.get_by_text("The whole song, 30:00").count():
            break
        page.wait_for_timeout(500)
    heading(page, "long.flac: rock 100 %")
    player_of(page)
    most = max(most, process.memory_info().rss)
    assert (most - before) >> 20 < 300
    # And the page needs no TensorFlow.
    assert not any("tensorflow" in mapped.path for mapped in process.memory_maps())


def test_missing_chromium_fails_in_ci_and_skips_elsewhere(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI tests the page in chromium"):
        find_chromium()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        find_chromium()
