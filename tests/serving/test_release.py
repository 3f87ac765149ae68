"""A model as the pipeline exports it, asked about music as others ask TF Serving."""

import pathlib

import keras
import pytest

from components.audio import codec
from components.audio.features import feature
from components.trainer.release.export import Branch, write_release
from tests.conftest import chord
from tests.serving.one_answer import assert_one_answer
from tests.serving.server_process import ServerProcess

pytestmark = pytest.mark.slow
GENRES = ("ambient", "drum & bass", "fado", "gamelan", "klezmer", "ländler", "qawwali")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, transform_output, settings) -> pathlib.Path:
    """Version 3 of a small network for seven genres that are none of GTZAN's."""
    keras.utils.set_random_seed(3)
    described = feature("log_mel", settings)
    network = keras.Sequential(
        [
            keras.Input(described.window_shape),
            keras.layers.Conv1D(16, 5, strides=4, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(len(GENRES), activation="softmax"),
        ]
    )
    folder = tmp_path_factory.mktemp("release") / "genre" / "3"
    write_release(
        str(folder),
        [Branch(network, described)],
        settings=settings,
        genres=GENRES,
        transforms={"log_mel": transform_output},
        serving_name="genre",
    )
    return folder


@pytest.fixture(scope="module")
def serving(tmp_path_factory, exported: pathlib.Path):
    process = ServerProcess(
        tmp_path_factory.mktemp("server"), ["--model-base-path", str(exported.parent)]
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(params=["composed", "real"])
def wav(request: pytest.FixtureRequest, settings) -> bytes:
    """A clip as a 16-bit WAV: one that is made here, and a track of GTZAN where there is one."""
    if request.param == "composed":
        return codec.encode_wav(chord(7, settings), settings.sample_rate_hz)
    music = request.getfixturevalue("real_music")
    track = min((music / "genres_original").rglob("*.wav"))
    decoded = codec.decode(
        track.read_bytes(), name=track.name, sample_rate_hz=settings.sample_rate_hz
    )
    return codec.encode_wav(decoded.samples[: settings.clip_samples], settings.sample_rate_hz)


def test_stubs_curl_and_the_model_itself_give_the_same_answer(
    serving: ServerProcess, exported: pathlib.Path, wav: bytes, tmp_path: pathlib.Path
) -> None:
    assert_one_answer(serving, exported, wav, tmp_path)
