"""A release as the pipeline writes it, asked in every way there is: one answer."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from components.audio import codec
from serving.client import GenreClient
from tests.conftest import chord
from tests.serving.browser import chromium
from tests.serving.one_answer import assert_one_answer
from tests.serving.page_process import PageProcess
from tests.serving.server_process import REPOSITORY, ServerProcess
from tests.serving.tone_model import SETTINGS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def release_server(
    release: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    process = ServerProcess(
        tmp_path_factory.mktemp("release_server"), ["--model-base-path", str(release.parent)]
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def track(real_music: pathlib.Path) -> pathlib.Path:
    return min((real_music / "genres_original").rglob("*.wav"))


@pytest.fixture(scope="module")
def expected(release_server: ServerProcess, track: pathlib.Path) -> dict:
    """What the client says of the track over gRPC."""
    with GenreClient(release_server.address) as client:
        return client.classify_file(track).as_json()


@pytest.mark.parametrize("sound", ["composed", "real"])
def test_stubs_curl_and_the_model_itself(
    release_server: ServerProcess,
    release: pathlib.Path,
    sound: str,
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
) -> None:
    samples, rate = chord(7, SETTINGS), SETTINGS.sample_rate_hz
    if sound == "real":
        path = request.getfixturevalue("track")
        samples = codec.decode(path.read_bytes(), name=path.name, sample_rate_hz=rate).samples
    wav = codec.encode_wav(samples[: SETTINGS.clip_samples], rate)
    assert_one_answer(release_server, release, wav, tmp_path)


def test_classify_without_a_server(
    release: pathlib.Path, track: pathlib.Path, expected: dict
) -> None:
    command = [sys.executable, "-m", "serving.classify", "--json"]
    done = subprocess.run(
        [*command, "--releases", str(release.parent), str(track)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert [w["start_seconds"] for w in answer["windows"]] == [
        w["start_seconds"] for w in expected["windows"]
    ]


def test_page_in_a_browser(
    release_server: ServerProcess, track: pathlib.Path, expected: dict, tmp_path: pathlib.Path
) -> None:
    site = PageProcess(tmp_path, ["--server", release_server.address])
    try:
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.goto(site.url)
            page.locator("input[type=file]").wait_for(state="attached")
            page.locator("input[type=file]").set_input_files(str(track))
            chart = page.locator(".js-plotly-plot")
            chart.wait_for()
            names = chart.locator(".yaxislayer-above text").all_text_contents()
            bars = chart.locator(".barlayer text").all_text_contents()
    finally:
        site.stop()
    shown = {name.strip(): float(bar.split()[0]) for name, bar in zip(names, bars, strict=True)}
    percents = {name: 100 * value for name, value in expected["probabilities"].items()}
    assert shown == pytest.approx(percents, abs=0.051)
    assert list(shown)[-1] == expected["genre"]


def test_parts_of_a_long_song_say_what_its_clips_say(release_server: ServerProcess) -> None:
    """A song in several requests has the windows that its clips have one by one."""
    clips = [chord(seed, SETTINGS) for seed in range(12)]
    with GenreClient(release_server.address) as client:
        whole = client.classify_samples(np.concatenate(clips))
        alone = [client.classify_samples(clip).window_probabilities for clip in clips]
    assert whole.duration_seconds == 360
    np.testing.assert_allclose(whole.window_starts_seconds[::10], np.arange(12) * 30.0)
    np.testing.assert_allclose(whole.window_probabilities, np.concatenate(alone), atol=1e-4)
