"""What many tests share: where real music is, a few raw examples, Transform's graph, a release."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hashlib
import signal
import tempfile
import urllib.request
from pathlib import Path

import hypothesis
import imageio_ffmpeg
import numpy as np
import pytest

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES

ROOT = Path(__file__).resolve().parent.parent
REAL_MUSIC = ROOT.parent / "shared" / "gtzan"
SCHEMA_FILE = ROOT / "schemas" / "gtzan.pbtxt"


# A shell ignores Ctrl-C for what it starts in the background, and so do processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Sound takes long; more examples than CI's are for `make test-scale`.
for _profile, _examples in (("default", 25), ("scale", 200)):
    hypothesis.settings.register_profile(_profile, deadline=None, max_examples=_examples)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Where the machine has no ffmpeg, tests use the one of a package.
_programs = tempfile.TemporaryDirectory(prefix="gatefold-programs-")
Path(_programs.name, "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
os.environ["PATH"] += os.pathsep + _programs.name

# The files that take longest, the longest first. Two processes share the files; one that began
# with the shortest would wait at the end for the other's last.
_LONGEST = (
    "tests/kubeflow/test_walk.py",
    "tests/e2e/test_pipeline.py",
    "tests/e2e/test_real_tracks.py",
    "tests/test_tutorial.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts the longest files first; the others keep their order."""
    places = {file: place for place, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection() -> None:
    """Has the garbage collector leave alone what libraries make, which lives as long as the tests.

    TensorFlow, Beam and TFX make over a million objects.
    """
    gc.disable()


def pytest_collection_finish() -> None:
    """The libraries are imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def settings() -> AudioSettings:
    return AudioSettings()


@pytest.fixture(scope="session")
def real_music() -> Path:
    """The folder with genuine GTZAN tracks; skips where it is missing."""
    if not (REAL_MUSIC / "genres_original").is_dir():
        pytest.skip(f"needs real GTZAN tracks in {REAL_MUSIC} (not ours to ship)")
    return REAL_MUSIC


def chord(seed: int, settings: AudioSettings, seconds: float | None = None) -> np.ndarray:
    """A decaying chord over noise, different for every seed: float32 in [-1, 1]."""
    generator = np.random.default_rng(seed)
    samples = int((seconds or settings.clip_seconds) * settings.sample_rate_hz)
    time = np.arange(samples) / settings.sample_rate_hz
    pitches = 110.0 * 2 ** (generator.integers(0, 36, size=3) / 12)
    beat = np.exp(-4.0 * (time * generator.uniform(1, 3) % 1.0))
    sound = sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches) * beat / 6
    return (sound + generator.normal(scale=0.02, size=samples)).astype(np.float32)


@pytest.fixture(scope="session")
def clips(settings: AudioSettings) -> np.ndarray:
    """Four clips, float32 [4, clip_samples], on the 16-bit grid as ingest leaves them."""
    sounds = [chord(seed, settings) for seed in range(4)]
    return np.stack([codec.from_pcm16(codec.to_pcm16(sound)) for sound in sounds])


@pytest.fixture(scope="session")
def raw_examples(clips: np.ndarray) -> list[dict[str, object]]:
    """The clips as raw examples, in Python values."""
    return [
        {
            "track_id": f"{GENRES[index]}.{index:05d}".encode(),
            "genre": GENRES[index].encode(),
            "audio": codec.to_pcm16(clip),
            "duration_seconds": 30.0,
            "source_sample_rate_hz": 22_050,
            "peak": float(np.abs(clip).max()),
            "rms_db": float(10 * np.log10(np.mean(clip**2))),
            "silent_fraction": 0.0,
            "clipped_fraction": 0.0,
            "bandwidth_hz": 11_025.0,
            "content_hash": hashlib.blake2b(codec.to_pcm16(clip)).hexdigest()[:32].encode(),
        }
        for index, clip in enumerate(clips)
    ]


def serialise(example: dict[str, object]) -> bytes:
    """A raw example as a serialized tf.Example."""
    import tensorflow as tf

    message = tf.train.Example()
    for name, value in example.items():
        values = message.features.feature[name]
        if isinstance(value, bytes):
            values.bytes_list.value.append(value)
        elif isinstance(value, int):
            values.int64_list.value.append(value)
        else:
            values.float_list.value.append(value)
    return message.SerializeToString()


@pytest.fixture(scope="session")
def serialised_examples(raw_examples: list[dict[str, object]]) -> list[bytes]:
    return [serialise(example) for example in raw_examples]


@pytest.fixture(scope="session")
def raw_schema():
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())


@pytest.fixture(scope="session")
def transformed(tmp_path_factory, raw_examples, raw_schema, settings):
    """Runs `preprocessing_fn` over the raw examples with tf.Transform on Beam.

    Returns:
      The folder of the transform graph, and the transformed examples in order.
    """
    import functools

    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

    from components.transform.preprocessing import preprocessing_fn

    folder = tmp_path_factory.mktemp("transform")
    metadata = dataset_metadata.DatasetMetadata(raw_schema)
    rows = [{name: [value] for name, value in example.items()} for example in raw_examples]
    with tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("tft"))):
        (data, _), transform_fn = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            functools.partial(
                preprocessing_fn,
                custom_config={
                    "audio": {},
                    "features": ["log_mel", "mfcc", "descriptors", "music_mel", "waveform"],
                    "genres": GENRES,
                },
            )
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder))
    metadata_io.write_metadata(metadata, str(folder / tft.TFTransformOutput.RAW_METADATA_DIR))
    return folder, sorted(data, key=lambda row: row["track_id"])


@pytest.fixture(scope="session")
def transform_output(transformed):
    import tensorflow_transform as tft

    return tft.TFTransformOutput(str(transformed[0]))


@pytest.fixture(scope="session")
def release(tmp_path_factory, transform_output, settings) -> Path:
    """A released SavedModel of a tiny network with random weights, in `genre/1`."""
    import keras

    from components.audio.features import feature
    from components.trainer.release.export import write_release
    from components.trainer.release.genre_graph import Branch

    keras.utils.set_random_seed(0)
    described = feature("log_mel", settings)
    network = keras.Sequential(
        [
            keras.Input(described.window_shape),
            keras.layers.Conv1D(16, 5, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(len(GENRES), activation="softmax"),
        ]
    )
    folder = tmp_path_factory.mktemp("serving") / "genre" / "1"
    write_release(
        str(folder),
        [Branch(network, described)],
        settings=settings,
        genres=GENRES,
        transforms={described.name: transform_output},
        serving_name="genre",
    )
    return folder


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory) -> Path:
    """The file of an empty MLflow store; tests copy it, as making one takes seconds."""
    import mlflow

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def no_network(monkeypatch) -> None:
    """Sends HTTP to a port where nothing listens, for this test only.

    urllib keeps the opener, and with it the proxies, of its first call for the whole process.
    """
    monkeypatch.setattr(urllib.request, "_opener", None)
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
