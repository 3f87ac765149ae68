"""The page in a real browser, wide and narrow, light and dark."""

import csv
import io
import itertools
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import soundfile
from playwright import sync_api

from serving.client import GenreClient
from tests.serving.browser import chromium, find_chromium, save_picture
from tests.serving.page_process import PageProcess
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS, tone

pytestmark = pytest.mark.slow

RELEASE = {
    "model": "musicnn",
    "data": "data/synthetic",
    "synthetic": True,
    "pushed_at": "2026-11-22T10:00:00Z",
    "tracks": {"train": 100, "test": 20},
    "test_accuracy": 0.9,
}


@pytest.fixture(scope="module")
def site(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    """The page, asking the shared server, whose version 2 has a release file."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "genre" / "2" / "assets.extra").mkdir(parents=True)
    (folder / "genre" / "2" / "assets.extra" / "release.json").write_text(json.dumps(RELEASE))
    site = PageProcess(
        folder,
        [
            *("--server", server.address),
            *("--releases", str(folder / "genre")),
            *("--rest", server.rest_url),
        ],
    )
    yield site
    site.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser, site: PageProcess):
    """Opens the page at a size, in a colour scheme; fails for what a browser calls an error."""
    pages, errors = [], []

    def open_page(query: str = "", *, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": 1400}, color_scheme=scheme, accept_downloads=True
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


def write_song(folder: pathlib.Path, genre: str, *, seconds: float = 12) -> pathlib.Path:
    path = folder / f"{genre}.wav"
    soundfile.write(path, tone(genre, seconds=seconds), SETTINGS.sample_rate_hz)
    return path


def upload(page, *paths: pathlib.Path) -> None:
    page.locator("input[type=file]").wait_for(state="attached")
    page.locator("input[type=file]").set_input_files([str(path) for path in paths])


def heading(page, name: str):
    """The heading of a song; spaces in it may be unbreakable."""
    pattern = re.escape(name).replace(r"\ ", r"\s")
    found = page.get_by_role("heading", name=re.compile(pattern))
    found.wait_for()
    return found


def unfold(page, title: str, content) -> None:
    """Opens an expander until its content shows, and waits until nothing moves that content."""
    player_of(page)
    for _ in range(10):
        page.get_by_text(title).click()
        try:
            content.wait_for(timeout=5_000)
        except sync_api.TimeoutError:
            continue
        wait_until_still(page, content)
        return
    raise AssertionError(f"'{title}' did not open")


def wait_until_still(page, content) -> None:
    """Waits until something has kept its place for a second."""
    places = []
    for _ in range(100):
        places.append(content.bounding_box())
        if len(places) > 5 and all(place == places[-1] for place in places[-6:]):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"It still moves: {places[-6:]}")


def first_bar(page, chart: int = 0) -> str:
    """The genre at the top of a bar chart: plotly draws the axis from the bottom."""
    labels = page.locator(".js-plotly-plot").nth(chart).locator(".yaxislayer-above text")
    labels.first.wait_for()
    return labels.last.text_content().strip()


def player_of(page, number: int = 0):
    player = page.frame_locator("iframe").nth(number)
    player.locator("#seek").wait_for()
    return player


def heard_at(player) -> float:
    return player.locator("audio").evaluate("sound => sound.currentTime")


def wait_until_loaded(player) -> None:
    player.locator("audio").evaluate(
        "sound => sound.readyState >= 1 || "
        "new Promise(done => sound.addEventListener('loadedmetadata', () => done()))"
    )


def test_song_is_dropped_and_its_genre_shown(open_page, tmp_path: pathlib.Path) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "jazz"))
    heading(page, "jazz.wav: jazz 100 %")
    assert first_bar(page) == "jazz"
    page.get_by_text("musicnn, trained on synthetic, 2026-11-22").first.wait_for()
    note = page.get_by_text("This model was trained on synthetic music: it knows no real song.")
    note.wait_for()
    player = player_of(page)
    assert player.locator("#genre").inner_text().split() == ["jazz", "100", "%"]
    assert player.locator("#time").inner_text() == "0:00 / 0:12"
    assert player.locator("#legend").inner_text().strip() == "jazz"
    wait_until_loaded(player)
    assert player.locator("audio").evaluate("sound => sound.duration") == pytest.approx(12)


@pytest.mark.parametrize("row", ["#wave", "#strip0", "#course0", "#spectrogram"])
def test_click_anywhere_in_the_timeline_jumps_there(
    open_page, tmp_path: pathlib.Path, row: str
) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "jazz"))
    player = player_of(page)
    wait_until_loaded(player)
    box = player.locator(row).bounding_box()
    player.locator(row).click(position={"x": 0.75 * box["width"], "y": 10})
    player.locator("audio").evaluate("sound => sound.pause()")
    assert heard_at(player) == pytest.approx(9, abs=1.5)
    # The playhead is at the same place in every row.
    boxes = [player.locator(name).bounding_box() for name in ("#wave", "#course0", "#spectrogram")]
    assert len({(round(box["x"]), round(box["width"])) for box in boxes}) == 1
    shown = float(player.locator("#seek").get_attribute("aria-valuenow"))
    page.mouse.move(0, 0)
    assert shown == pytest.approx(heard_at(player), abs=0.2)


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


def test_file_that_is_no_music_is_answered_with_a_sentence(
    open_page, tmp_path: pathlib.Path
) -> None:
    page = open_page()
    text = tmp_path / "lyrics [live].txt"
    text.write_text("la la la")
    upload(page, text)
    alert = page.get_by_role("alert")
    alert.get_by_text(re.compile(r"lyrics \[live\]\.txt is not audio")).wait_for()
    page.reload()
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(5 * SETTINGS.sample_rate_hz), SETTINGS.sample_rate_hz)
    upload(page, silent)
    alert.get_by_text("silent.wav is silent").wait_for()
    assert page.get_by_text("Traceback").count() == 0


def test_names_are_shown_as_they_are(open_page, tmp_path: pathlib.Path) -> None:
    path = write_song(tmp_path, "metal")
    odd = path.rename(tmp_path / "Björk *live* [b](http:x) $x$ :fire: <i>.wav")
    page = open_page()
    upload(page, odd)
    heading(page, f"{odd.name}: metal 100 %")


def test_two_versions_are_compared_side_by_side(open_page, tmp_path: pathlib.Path) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "metal"))
    heading(page, "metal.wav: metal 100 %")
    page.get_by_text("Compare with another").click()
    page.get_by_text("They differ:").wait_for()
    expected = "They differ: metal and pop; they agree in 0 of 4 windows."
    assert page.get_by_text("They differ:").inner_text() == expected
    assert {first_bar(page, 0), first_bar(page, 1)} == {"metal", "pop"}
    player = player_of(page)
    player.locator("#strip1").wait_for()
    assert player.locator("#legend").inner_text().split() == ["metal", "pop"]


def test_label_is_asked(open_page, tmp_path: pathlib.Path) -> None:
    page = open_page()
    upload(page, write_song(tmp_path, "metal"))
    heading(page, "metal.wav: metal 100 %")
    page.get_by_role("textbox", name="Label").fill("stable")
    page.get_by_role("textbox", name="Label").press("Enter")
    heading(page, "metal.wav: pop 100 %")  # version 1, which is shifted by one


def test_release_evidence_is_one_click_away(open_page) -> None:
    page = open_page()
    page.get_by_role("button", name="What this model is").click()
    page.get_by_text("Tracks: 100 train, 20 test").wait_for()
    page.get_by_text("Accuracy on its test tracks: 90.0 %").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Release evidence").click()
    assert json.loads(pathlib.Path(download.value.path()).read_text()) == RELEASE


def test_several_songs_give_a_table_two_stand_side_by_side(
    open_page, tmp_path: pathlib.Path
) -> None:
    page = open_page()
    broken = tmp_path / "broken.wav"
    broken.write_text("la la la")
    upload(page, write_song(tmp_path, "jazz"), broken, write_song(tmp_path, "rock"))
    heading(page, "jazz.wav: jazz 100 %")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(pathlib.Path(download.value.path()).read_text())))
    assert [(row["file"], row["genre"]) for row in rows] == [
        ("jazz.wav", "jazz"),
        ("broken.wav", ""),
        ("rock.wav", "rock"),
    ]
    assert "is not audio" in rows[1]["error"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    made = json.loads(pathlib.Path(download.value.path()).read_text())
    assert [song.get("genre") for song in made] == ["jazz", None, "rock"]
    page.get_by_role("combobox", name=re.compile("Look at one song")).click()
    page.get_by_role("option", name="3. rock.wav").click()
    heading(page, "rock.wav: rock 100 %")
    left, right = (page.locator("iframe").nth(number).bounding_box() for number in (0, 1))
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 40
    assert player_of(page, 1).locator("#legend").inner_text().strip() == "rock"


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


def test_snippets_ask_what_the_page_asked(
    open_page, tmp_path: pathlib.Path, server: ServerProcess
) -> None:
    song = write_song(tmp_path, "country")
    page = open_page()
    upload(page, song)
    heading(page, "country.wav: country 100 %")
    button = page.get_by_role("button", name="Request (JSON)")
    unfold(page, "Use it from Python or curl", button)
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "country-request.json"
    download.value.save_as(tmp_path / "country-request.json")
    python, curl = page.locator("[data-testid=stCode] code").all_inner_texts()
    done = subprocess.run(
        ["bash", "-c", curl], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (answer,) = json.loads(done.stdout)["predictions"]
    with GenreClient(server.address, version=2) as client:
        expected = client.classify_file(song).probabilities
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    done = subprocess.run(
        [str(REPOSITORY / ".venv/bin/python"), "-c", python],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "country 100 %\n"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_wide_and_narrow_light_and_dark(open_page, width: int, scheme: str) -> None:
    page = open_page("/?example=jazz", width=width, scheme=scheme)
    heading(page, "jazz-example.wav: ")
    player = player_of(page)
    player.locator("#legend i").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame = page.locator("iframe").first
    assert player.locator("main").evaluate("main => main.scrollWidth <= innerWidth")
    theme = player.locator("main").evaluate("() => document.documentElement.dataset.theme")
    assert theme == scheme
    # Nothing of the player is cut off, and no two note names overlap.
    needed = player.locator("main").evaluate("main => main.getBoundingClientRect().bottom")
    assert frame.bounding_box()["height"] >= needed - 1
    notes = player.locator(".row:has(#spectrogram) .gutter span")
    boxes = sorted((notes.nth(i).bounding_box()["y"] for i in range(notes.count())), reverse=True)
    assert len(boxes) >= 5
    assert all(lower - upper >= 14 for lower, upper in itertools.pairwise(boxes))
    # Its text is readable on the page's background.
    ink, background = (
        [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
        for colour in (
            player.locator("#time").evaluate("e => getComputedStyle(e).color"),
            page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor"),
        )
    )
    assert abs(np.mean(ink) - np.mean(background)) > 90
    save_picture(page, f"page-{'wide' if width > 1000 else 'narrow'}-{scheme}")


def test_long_song_and_toggles_stay_within_memory(
    open_page, site: PageProcess, tmp_path: pathlib.Path
) -> None:
    warm = open_page()
    upload(warm, write_song(tmp_path, "jazz"))
    player_of(warm)
    process = psutil.Process(site.pid)
    before = process.memory_info().rss
    path = tmp_path / "long.mp3"
    minute = tone("rock", seconds=60)
    with soundfile.SoundFile(path, "w", SETTINGS.sample_rate_hz, 1, format="MP3") as file:
        for _ in range(30):
            file.write(minute)
    page = open_page()
    upload(page, path)
    most = before
    page.set_default_timeout(1_000)
    for _ in range(120):
        most = max(most, process.memory_info().rss)
        if page.get_by_text("30:00 min").count():
            break
        page.wait_for_timeout(500)
    page.set_default_timeout(40_000)
    heading(page, "long.mp3: rock 100 %")
    source = player_of(page).locator("audio").get_attribute("src")
    page.get_by_text("Compare with another").click()
    page.get_by_text("They differ:").wait_for()
    most = max(most, process.memory_info().rss)
    assert (most - before) >> 20 < 300
    # The sound was not encoded again: the player has the same file.
    assert player_of(page).locator("audio").get_attribute("src") == source
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
