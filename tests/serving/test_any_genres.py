"""Genres that are not GTZAN's, from a served model to terminal and page."""

import pathlib
from collections.abc import Iterator

import pytest
import soundfile

from serving.client.cli import main
from tests.serving import tone_model
from tests.serving.browser import chromium
from tests.serving.page_process import PageProcess
from tests.serving.server_process import ServerProcess

GENRES = (
    "Neue Deutsche Welle",
    "Schlager für Zwölf",
    "[live]",
    "[/b] R&B <i>",
    "演歌",
    "$K-Pop$",
    "*a* _b_",
    ":fire:",
    "Drum 'n' Bass",
    'Chanson "nouvelle"',
)


@pytest.fixture(scope="module")
def server_of_others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the tone model under other names."""
    folder = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tone_model, "GENRES", GENRES)
        tone_model.write_tone_model(folder / "genre" / "1")
    process = ServerProcess(folder, ["--model-base-path", str(folder / "genre")])
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[pathlib.Path]:
    """A song of each genre, in their order."""
    folder = tmp_path_factory.mktemp("songs")
    paths = [folder / f"{index}.wav" for index in range(len(GENRES))]
    for index, path in enumerate(paths):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tone_model, "GENRES", GENRES)
            samples = tone_model.tone(GENRES[index], seconds=6)
        soundfile.write(path, samples, tone_model.SETTINGS.sample_rate_hz)
    return paths


def test_terminal_shows_them_as_they_are(
    server_of_others: ServerProcess, songs: list[pathlib.Path], capsys
) -> None:
    assert main(["--server", server_of_others.address, *map(str, songs)]) == 0
    lines = capsys.readouterr().out.splitlines()[1 : len(GENRES) + 1]
    for index, (line, genre) in enumerate(zip(lines, GENRES, strict=True)):
        assert line.startswith(f"{index}.wav  {genre} ")


@pytest.mark.slow
def test_page_shows_them_as_they_are(
    server_of_others: ServerProcess, songs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
    site = PageProcess(tmp_path, ["--server", server_of_others.address])
    try:
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(40_000)
            page.goto(site.url)
            for song, genre in zip(songs, GENRES, strict=True):
                page.locator("input[type=file]").wait_for(state="attached")
                page.locator("input[type=file]").set_input_files(str(song))
                title = page.get_by_role("heading").filter(has_text=f"{song.name}:")
                title.wait_for()
                shown = title.inner_text().replace("\N{NO-BREAK SPACE}", " ")
                assert shown == f"{song.name}: {genre} 100 %"
                player = page.frame_locator("iframe").first
                player.locator("#legend").get_by_text(genre, exact=True).wait_for()
                labels = page.locator(".js-plotly-plot .yaxislayer-above text")
                labels.filter(has_text=genre).first.wait_for()
                page.reload()
    finally:
        site.stop()
    assert "Traceback" not in site.output
