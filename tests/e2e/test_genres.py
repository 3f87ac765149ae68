"""Four genres of one's own, from folders with umlauts, spaces and brackets, to a release."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.audio import codec
from components.audio.settings import AudioSettings
from tests.conftest import chord
from tests.e2e.conftest import Run, run

AUDIO = AudioSettings()
GENRES = ("Blåsmusik [live]", "Märchen & Lied", "R&B", "新 音")
TRACKS, SECONDS = 5, 4.2


def write_track(path: Path, pitch: float, seed: int) -> None:
    """A chord of its own over a drone that gives its genre away."""
    samples = chord(seed, AUDIO, SECONDS)
    drone = np.sin(2 * np.pi * pitch * np.arange(len(samples)) / AUDIO.sample_rate_hz)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode_wav(0.5 * samples + 0.3 * drone, AUDIO.sample_rate_hz))


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("e2e") / "Müsik (für alle) [2026]"
    for index, genre in enumerate(GENRES):
        # As macOS writes names; half of the tracks lie in an album.
        name = unicodedata.normalize("NFD", genre)
        for number in range(TRACKS):
            album = "Ein Album" if number % 2 else ""
            path = folder / name / album / f"Stück {number}.wav"
            write_track(path, 200.0 * 2**index, 100 * index + number)
    (folder / "R&B" / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"no music")
    return folder


@pytest.fixture(scope="module")
def arguments(music, permissive, tmp_path_factory) -> list[str]:
    return [
        *("--data", str(music), "--genres", "auto", "--models", "cnn", "--epochs", "1"),
        *("--output", str(tmp_path_factory.mktemp("out") / "Ausgabe (für alle)")),
        *("--set", "training.windows_per_track=1", "--set", "audio.clip_seconds=4"),
        *("--gate", permissive),
    ]


@pytest.fixture(scope="module")
def first_run(arguments) -> Run:
    return run(*arguments)


@pytest.fixture(scope="module")
def version(first_run, arguments) -> Path:
    """The released version's folder."""
    assert first_run.code == 0, first_run.screen
    output = Path(arguments[arguments.index("--output") + 1])
    (folder,) = (path for path in (output / "serving" / "genre").iterdir() if path.name.isdigit())
    return folder


def test_the_release_knows_the_four_names_and_classifies_a_track(version, music):
    assert tuple((version / "assets" / "genres.txt").read_text().splitlines()) == GENRES
    track = next((music / unicodedata.normalize("NFD", GENRES[0])).glob("*.wav"))
    classify = tf.saved_model.load(str(version)).signatures["classify_wav"]
    answer = classify(wav=tf.constant([track.read_bytes()]))
    assert answer["probabilities"].shape == (1, len(GENRES))
    assert float(tf.reduce_sum(answer["probabilities"])) == pytest.approx(1, abs=1e-4)
    names = [name.decode() for name in answer["genres"].numpy()[0]]
    assert tuple(names) == GENRES


def test_the_release_s_warmup_requests_are_answered(version):
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_the_report_has_the_four_genres_and_the_file_that_was_left_out(version, arguments):
    output = Path(arguments[arguments.index("--output") + 1])
    (report,) = (output / "pipeline").glob("**/ingest_report/*/report.json")
    summary = json.loads(report.read_text())
    assert tuple(summary["tracks"]) == GENRES
    assert summary["accepted"] == len(GENRES) * TRACKS
    assert [one["path"] for one in summary["rejected"]] == [r"R&B/caf\xe9.wav"]
