"""The feature graphs, built once for all tests of sound."""

import numpy as np
import pytest
import soundfile

from components.audio import codec
from components.audio.catalog import FEATURE_NAMES
from components.audio.settings import AudioSettings
from tests.conftest import chord


@pytest.fixture(scope="session")
def settings() -> AudioSettings:
    """Clips of four seconds: what holds of a frame or a window holds of a longer sound's."""
    return AudioSettings(clip_seconds=4)


@pytest.fixture(scope="session")
def clips(settings) -> np.ndarray:
    """Four clips, float32 [4, clip_samples], on the 16-bit grid as ingest leaves them."""
    sounds = [chord(seed, settings) for seed in range(4)]
    return np.stack([codec.from_pcm16(codec.to_pcm16(sound)) for sound in sounds])


@pytest.fixture(scope="session")
def features_of(settings):
    """All four features of a batch [batch, samples] of any length, as numpy arrays by name."""
    import tensorflow as tf

    from components.audio.extraction import extract

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def graph(waveform):
        return extract(FEATURE_NAMES, waveform, settings)[0]

    return lambda batch: {name: value.numpy() for name, value in graph(batch).items()}


@pytest.fixture(scope="session")
def frames_of_sound(settings):
    """The quantities of each frame of one sound [samples], as [frames, n] arrays by name."""
    import tensorflow as tf

    from components.audio import spectral
    from components.audio.descriptors import FRAME_COLUMNS, frame_matrix

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def graph(waveform):
        magnitude = spectral.magnitudes(waveform, settings)
        level_db = spectral.log_mel(magnitude, settings)
        cepstrum = spectral.mfcc(level_db, settings)
        return frame_matrix(waveform, magnitude, level_db, cepstrum, settings)

    def by_name(sound: np.ndarray) -> dict[str, np.ndarray]:
        matrix = graph(sound).numpy()
        names = [column.rstrip("0123456789") for column in FRAME_COLUMNS]
        return {
            name: matrix[:, [index for index, other in enumerate(names) if other == name]]
            for name in dict.fromkeys(names)
        }

    return by_name


@pytest.fixture(scope="session")
def real_clips(real_music, settings) -> dict[str, np.ndarray]:
    """Thirty seconds of a real track of each of three genres, float32 [samples] each."""
    sounds = {}
    for genre in ("classical", "hiphop", "jazz"):
        path = real_music / "genres_original" / genre / f"{genre}.00001.wav"
        sounds[genre], _ = soundfile.read(
            path, dtype="float32", frames=30 * settings.sample_rate_hz, fill_value=0.0
        )
    return sounds
