"""A small world of music: a few genres, four-second tracks, and the executor to ingest them."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from components.audio import codec
from components.audio.settings import AudioSettings
from components.example_gen.settings import IngestSettings, SplitSettings
from components.gtzan.genres import GENRES
from pipeline.beam_runners import BeamConfig

SHORT = AudioSettings(clip_seconds=4, window_seconds=3.0)
PER_GENRE = 3
FEW = ("blues", "jazz", "pop", "rock")
BEAM_ARGS = BeamConfig().pipeline_args()


def sound(seed: int, seconds: float = 4.2) -> np.ndarray:
    """A tone over noise, different for every seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SHORT.sample_rate_hz)) / SHORT.sample_rate_hz
    return 0.3 * np.sin(2 * np.pi * (200 + 10 * seed) * time) + 0.02 * rng.normal(size=len(time))


def write_track(folder: Path, genre: str, index: int, samples: np.ndarray) -> Path:
    path = folder / genre / f"{genre}.{index:05d}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode_wav(samples, SHORT.sample_rate_hz))
    return path


def write_music(folder: Path, per_genre: int = 5, genres: tuple[str, ...] = GENRES) -> Path:
    for number, genre in enumerate(genres):
        for index in range(per_genre):
            write_track(folder, genre, index, sound(100 * number + index))
    return folder


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> Path:
    """Good tracks only; tests that change something copy it."""
    return write_music(tmp_path_factory.mktemp("music") / "genres_original", PER_GENRE, FEW)


def ingest_settings(**changes) -> IngestSettings:
    """Settings for the four-second world."""
    split = changes.pop("split", SplitSettings(seed=0))
    base = {"genres": GENRES, "audio": SHORT, "split": split, "tracks_per_shard": 8}
    return IngestSettings(**{**base, **changes})


def few_settings(**changes) -> IngestSettings:
    """Settings for the genres of `music`."""
    return ingest_settings(**{"genres": FEW, **changes})


def run_executor(
    data: Path | str,
    output: Path,
    settings: IngestSettings,
    beam_args: list[str] = BEAM_ARGS,
    *,
    as_user=contextlib.nullcontext,
    data_fingerprint: str = "",
):
    """Runs the real executor, on Beam's direct runner by default; returns the artifacts."""
    from tfx.types import standard_artifacts

    from components.common.artifacts import Report
    from components.example_gen.executor import Executor

    examples, report = standard_artifacts.Examples(), Report()
    examples.uri, report.uri = str(output / "examples"), str(output / "report")
    context = Executor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(output / "tmp"), unique_id="1"
    )
    executor = Executor(context)
    with as_user():
        executor.Do(
            {},
            {"examples": [examples], "ingest_report": [report]},
            {
                "input_base": str(data),
                "settings": settings.to_json(),
                "data_fingerprint": data_fingerprint,
            },
        )
    return examples, report


def read_split(examples, split: str) -> list[dict]:
    """The records of a split, in Python values, in the order of files and records."""
    import tensorflow as tf

    found = []
    for path in sorted(Path(examples.uri, f"Split-{split}").iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            found.append(
                {
                    name: getattr(value, value.WhichOneof("kind")).value[0]
                    for name, value in features.items()
                }
            )
    return found
