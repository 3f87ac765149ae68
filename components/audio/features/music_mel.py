"""music_mel: the input of networks that were pretrained on the Million Song Dataset (`musicnn`).

They were trained on 16 kHz sound: Hann 512, hop 256, 96 Slaney mel bands to 8 kHz, and
`log10(10000 · power + 1)` (Pons and Serra, arXiv 1909.06654). At 22 050 Hz a window of 706 and a
hop of 353 samples last as long, so the sound needs no resampling. A longer window gathers more
power and a longer transform spreads it over more bins: by Parseval a band's sum grows with the
product of both lengths, which the factor `512 · 512 / (706 · 1024)` takes back.

>>> ENTRY.describe(AudioSettings()).clip_shape  # frames and columns of a clip of 30 s
(1874, 96)
"""

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from components.audio.feature_entry import FeatureEntry
from components.audio.settings import AudioSettings

if TYPE_CHECKING:
    import tensorflow as tf

    from components.audio.sound import Sound

HOP_LENGTH = 353
WINDOW_LENGTH = 2 * HOP_LENGTH
FFT_LENGTH = 1024
BINS = 96
WINDOW_FRAMES = 187
HIGHEST_HZ = 8000.0
SAMPLE_RATE_HZ = 22_050  # what HOP_LENGTH is for
COMPRESSION = 10_000.0

_ORIGINAL_LENGTH = 512  # of window and transform


@functools.lru_cache(maxsize=4)
def music_mel_matrix(sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """Weights from power to the networks' bands, lengths made up for: float32 [513, 96]."""
    import librosa

    matrix = librosa.filters.mel(sr=sample_rate_hz, n_fft=FFT_LENGTH, n_mels=BINS, fmax=HIGHEST_HZ)
    scaled = matrix.T * (_ORIGINAL_LENGTH**2 / (WINDOW_LENGTH * FFT_LENGTH))
    return np.ascontiguousarray(scaled, dtype=np.float32)


def music_mel(sound: "Sound") -> "tf.Tensor":
    """Compressed mel power as the pretrained networks read it.

    Returns:
      float32 [ceil(samples / 353), 96], zero or more; 1874 frames for a 30 s clip.
    """
    import tensorflow as tf

    from components.audio import spectral

    spectrum = tf.signal.stft(
        sound.waveform,
        frame_length=WINDOW_LENGTH,
        frame_step=HOP_LENGTH,
        fft_length=FFT_LENGTH,
        pad_end=True,
    )
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    bands = spectral.project(power, music_mel_matrix(sound.settings.sample_rate_hz))
    return tf.math.log1p(COMPRESSION * bands) / np.float32(np.log(10.0))


def _check(settings: AudioSettings, model: str) -> None:
    if settings.sample_rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(
            f"audio.sample_rate_hz must be {SAMPLE_RATE_HZ} for {model}, whose frames are as "
            "long as those that it was pretrained on: leave the setting out, or the model. "
            f"Received: {settings.sample_rate_hz}"
        )
    ENTRY.check_window(settings, model)


ENTRY = FeatureEntry(
    name="music_mel",
    compute=music_mel,
    hop_samples=lambda settings: HOP_LENGTH,
    bins=lambda settings: BINS,
    window_frames=lambda settings: WINDOW_FRAMES,
    standardised=False,
    highest_mel_hz=lambda settings: HIGHEST_HZ,
    check=_check,
)
