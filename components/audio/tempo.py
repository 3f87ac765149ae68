"""Onset strength of each frame, a descriptor, and the tempo from its autocorrelation."""

import functools

import librosa
import numpy as np
import numpy.typing as npt
import scipy.fft
import tensorflow as tf

from components.audio.settings import AudioSettings

LIKELIEST_BPM = 120.0
FASTEST_BPM = 320.0

_SECONDS_CORRELATED = 8.0
# Local autocorrelations are averaged over the sound; every fourth gives the same mean (a window of
# eight seconds moves by 0.1 s) in less than half the time.
_FRAMES_BETWEEN = 4
_SECONDS_PER_MINUTE = 60.0


def onset_strength(level_db: tf.Tensor) -> tf.Tensor:
    """Mean rise of the mel bands since the previous frame; falls count as zero.

    Equals `librosa.onset.onset_strength(S=level_db.T, center=False)`.
    Source: Böck and Widmer, Maximum filter vibrato suppression for onset detection, DAFx 2013.

    Args:
      level_db: float32 [frames, mel_bins] from `components.audio.spectral.log_mel`.

    Returns:
      float32 [frames, 1], decibels; 0 in the first frame.
    """
    return tf.pad(tf.reduce_mean(_rise(level_db), axis=1, keepdims=True), [[1, 0], [0, 0]])


def median_onset_strength(level_db: tf.Tensor) -> tf.Tensor:
    """Median rise of the mel bands since the previous frame: the input of the tempo estimate.

    An onset of a whole band moves it, a vibrato in a few mel bands does not. Equals
    `librosa.onset.onset_strength(S=level_db.T, center=False, aggregate=np.median)`.

    Args:
      level_db: float32 [frames, mel_bins] from `components.audio.spectral.log_mel`.

    Returns:
      float32 [frames, 1], decibels; 0 in the first frame.
    """
    bands = level_db.shape[1]
    upper_half = tf.math.top_k(_rise(level_db), bands // 2 + 1).values
    middle = upper_half[:, -2:] if bands % 2 == 0 else upper_half[:, -1:]
    return tf.pad(tf.reduce_mean(middle, axis=1, keepdims=True), [[1, 0], [0, 0]])


def tempo(onset_strength: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Beats a minute: the period at which onsets repeat, weighed by how likely it is in music.

    The onset strength's autocorrelation in windows of eight seconds, each divided by its maximum,
    is averaged; the score of a lag is `log(1 + 10⁶ · mean)` plus a log-normal prior one octave wide
    around 120. The best lag is refined by a parabola through its neighbours, so the result varies
    smoothly with the sound; `librosa.feature.tempo` returns the whole lag, at most half a frame
    away. Given the median onset strength it is the tempo of `librosa.beat.beat_track`.
    Sources: Grosche, Müller and Kurth, Cyclic tempogram, ICASSP 2010; Ellis, Beat tracking by
    dynamic programming, 2007.

    Args:
      onset_strength: float32 [frames, 1], from `median_onset_strength`.
      settings: The analysis settings.

    Returns:
      float32 [], beats a minute; 120 for silence.
    """
    score = tf.math.log1p(1e6 * _mean_autocorrelation(onset_strength[:, 0], settings))
    score += tf.constant(_log_prior(settings))
    fastest = int(np.argmax(_beats_per_minute(settings) < FASTEST_BPM))
    best = fastest + tf.argmax(score[fastest:-1], output_type=tf.int32)
    before, at, after = score[best - 1], score[best], score[best + 1]
    curvature = tf.maximum(2.0 * at - before - after, 1e-12)
    offset = tf.clip_by_value(0.5 * (after - before) / curvature, -0.5, 0.5)
    lag_frames = tf.cast(best, tf.float32) + offset
    return _SECONDS_PER_MINUTE * settings.frames_per_second / lag_frames


def _window_frames(settings: AudioSettings) -> int:
    return int(_SECONDS_CORRELATED * settings.frames_per_second)


@functools.lru_cache(maxsize=8)
def _beats_per_minute(settings: AudioSettings) -> npt.NDArray[np.float64]:
    """Tempo of each lag, float64 [lags], infinite for lag 0."""
    return librosa.tempo_frequencies(
        _window_frames(settings), sr=settings.sample_rate_hz, hop_length=settings.hop_length
    )


def _log_prior(settings: AudioSettings) -> npt.NDArray[np.float32]:
    """Log-likelihood of each lag, float32 [lags]; that of lag 0, never looked at, is finite."""
    octaves = np.log2(_beats_per_minute(settings)[1:] / LIKELIEST_BPM)
    return np.concatenate([[0.0], -0.5 * octaves**2]).astype(np.float32)


def _mean_autocorrelation(envelope: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Mean of the normalised local autocorrelations: [frames] gives [lags], 0 to 1."""
    length = _window_frames(settings)
    half = length // 2
    # Faded out at both ends, as librosa does, so that the first and last windows are centred too.
    fade = tf.constant(np.arange(half) / half, tf.float32)
    padded = tf.concat(
        [envelope[0] * fade, envelope, envelope[-1] * tf.reverse(fade, axis=[0])], axis=0
    )
    frames = tf.shape(envelope)[0]
    windows = tf.signal.frame(padded[: frames + length - 1], length, _FRAMES_BETWEEN)
    windows *= tf.constant(librosa.filters.get_window("hann", length), tf.float32)
    points = scipy.fft.next_fast_len(2 * length - 1, real=True)
    spectrum = tf.signal.rfft(windows, [points])
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    correlation = tf.signal.irfft(tf.cast(power, tf.complex64), [points])[:, :length]
    peak = tf.reduce_max(correlation, axis=1, keepdims=True)
    # The transform's rounding leaves values a little under zero.
    normalised = tf.nn.relu(tf.math.divide_no_nan(correlation, peak))
    return tf.reduce_mean(normalised, axis=0)


def _rise(level_db: tf.Tensor) -> tf.Tensor:
    """How much each band rose since the frame before, falls as 0: [frames - 1, mel_bins]."""
    return tf.nn.relu(level_db[1:] - level_db[:-1])
