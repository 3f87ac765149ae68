"""Songs for the tone model, and statistics of a training split made of them."""

import pathlib

import numpy as np

from components.audio import levels
from components.audio.bandwidth import LongTermSpectrum
from components.gtzan.genres import GENRES
from tests.serving.tone_model import SETTINGS, tone

SECONDS = 3.2


def song(genre: str, seed: int) -> np.ndarray:
    """A tone at a level of its own, with noise over the whole band: float32 [samples]."""
    random = np.random.default_rng(seed)
    level = random.uniform(0.2, 0.7)
    samples = tone(genre, seconds=SECONDS, level=level)
    return samples + random.normal(0, 0.01 * level, len(samples)).astype(np.float32)


def songs(count: int, *, seed: int) -> list[np.ndarray]:
    """Songs of all genres in turn."""
    return [song(GENRES[place % len(GENRES)], seed + place) for place in range(count)]


def write_training_statistics(version: pathlib.Path, *, count: int = 120) -> None:
    """TFDV's statistics of songs, measured by ingest's functions, where Pusher puts them."""
    import pandas as pd
    import tensorflow_data_validation as tfdv

    rows = []
    for samples in songs(count, seed=10_000):
        measured = levels.measure(samples)
        spectrum = LongTermSpectrum()
        spectrum.add(samples, SETTINGS.sample_rate_hz)
        rows.append(
            {
                "rms_db": measured.rms_db,
                "peak": measured.peak,
                "silent_fraction": measured.silent_fraction,
                "clipped_fraction": measured.clipped_fraction,
                "bandwidth_hz": spectrum.bandwidth_hz(),
                "duration_seconds": len(samples) / SETTINGS.sample_rate_hz,
            }
        )
    frame = pd.DataFrame(rows).astype(np.float32)
    frame["genre"] = [GENRES[place % len(GENRES)] for place in range(count)]
    statistics = tfdv.generate_statistics_from_dataframe(frame, n_jobs=1)
    file = version / "assets.extra" / "training_statistics.pb"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(statistics.SerializeToString())
