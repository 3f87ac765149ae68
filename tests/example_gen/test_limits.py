"""One set of limits: what ingest names of a track, the schema says of all of them."""

import io
import re

import numpy as np
import pytest
import soundfile
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.audio import codec, levels
from components.audio.settings import AudioSettings
from components.example_gen import tracks
from components.example_gen.tracks import Examined
from components.example_validator.executor import describe
from components.example_validator.statistics import judged_schema, statistics_options
from components.gtzan.limits import TrackLimits
from components.gtzan.splits import SPLITS
from components.schema_import.executor import complete
from tests.conftest import SCHEMA_FILE
from tests.example_gen import conftest as world

AUDIO = AudioSettings()
RATE = AUDIO.sample_rate_hz
BLOCK = levels.BLOCK_SAMPLES


def noise(seconds: float, level: float, rate: int = RATE) -> np.ndarray:
    return level * np.random.default_rng(0).uniform(-1, 1, int(seconds * rate))


def partly(sounding: float) -> np.ndarray:
    """A clip of 20 s of which a part sounds and the rest is silent."""
    samples = np.zeros(216 * BLOCK)
    samples[: round(216 * sounding) * BLOCK] = noise(0.1, 0.5)[0]
    return samples


def square(clipped: float) -> np.ndarray:
    samples = np.resize([0.5, -0.5], 10 * RATE)
    samples[: int(len(samples) * clipped)] *= 2.0
    return samples


FAULTS = {
    "short": (noise(2.99, 0.5), RATE, tracks.TOO_SHORT, r"2.99 s, a window is 3 s"),
    "long": (np.full(3_601 * 8000, 0.5), 8000, tracks.TOO_LONG, r"3601 s, at most 3600 s"),
    "slow": (noise(10, 0.5, 4000), 4000, tracks.BAD_RATE, "4000 Hz, from 8000 to 384000 Hz"),
    "fast": (noise(3.1, 0.5, 400_000), 400_000, tracks.BAD_RATE, "400000 Hz"),
    "silent": (
        np.append(np.zeros(9 * RATE), np.full(4, 0.0022)),
        RATE,
        tracks.SILENT,
        r"the RMS of every 2048 samples is under -60 dBFS; the highest sample is at -53\.\d dBFS",
    ),
    "inaudible": (np.full(10 * RATE, 0.5), RATE, tracks.SILENT, "no clip of it reaches -80 LUFS"),
    "mostly": (partly(0.08), RATE, tracks.MOSTLY_SILENT, r"9\d\.\d% of its blocks .* at most 90%"),
    "quiet": (noise(9, 0.009), RATE, tracks.TOO_QUIET, r"-4\d\.\d dBFS, at least -40\.0 dBFS"),
    "clipped": (square(0.26), RATE, tracks.CLIPPED, r"26\.0% of its samples .* at most 25%"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_track_beyond_a_limit_is_a_fault_with_a_name_and_its_figure(name):
    samples, rate, fault, says = FAULTS[name]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    found = tracks.examine(Examined("a.wav", "a", "pop"), buffer.getvalue(), AUDIO)
    assert found.fault == fault
    assert found.duration_seconds > 0
    assert re.search(says, found.detail), found.detail


# Just within every limit, and what the schema once condemned after ingest had taken it.
WITHIN = {
    "three seconds": (noise(3.0, 0.5), RATE),
    "fifty minutes": (np.tile(noise(1, 0.5, 8000), 3000), 8000),
    "eight kilohertz": (noise(10, 0.5, 8000), 8000),
    "high resolution": (noise(3.1, 0.5, 384_000), 384_000),
    "mostly silence": (partly(0.11), RATE),
    "quiet": (noise(9, 0.0101), RATE),
    "loud": (square(0.24), RATE),
    "full scale": (np.sign(noise(9, 1.0)) * 0.99, RATE),
}


def test_the_schema_accepts_what_ingest_accepts(tmp_path):
    for genre, last in (("hum", 0.1), ("hiss", -0.1)):
        (tmp_path / "music" / genre).mkdir(parents=True)
        for number, (samples, rate) in enumerate(WITHIN.values()):
            # Of its own in each genre, or it would be a duplicate.
            soundfile.write(
                tmp_path / "music" / genre / f"{number}.wav", np.append(samples, last), rate
            )
    settings = world.ingest_settings(genres=("hiss", "hum"), max_rejected=0.0, audio=AUDIO)
    examples, _ = world.run_executor(tmp_path / "music", tmp_path, settings)
    template = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    schema = complete(template, genres=["hiss", "hum"], limits=TrackLimits.of(AUDIO))
    for split in SPLITS:
        statistics = tfdv.generate_statistics_from_tfrecord(
            f"{examples.uri}/Split-{split}/*", stats_options=statistics_options(SCHEMA_FILE)
        )
        anomalies = tfdv.validate_statistics(statistics, judged_schema(schema))
        assert describe(anomalies) == []


def test_a_shorter_window_makes_shorter_tracks_good():
    assert TrackLimits.of(AudioSettings(window_seconds=2.0)).min_seconds == 2.0
    brief = codec.encode_wav(noise(2.2, 0.5), RATE)
    short_windows = AudioSettings(window_seconds=2.0)
    assert not tracks.examine(Examined("a.wav", "a", "pop"), brief, short_windows).fault
