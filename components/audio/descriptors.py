"""Descriptors: one row of statistics for each window of a sound.

A row holds mean and variance of every quantity of `FRAME_COLUMNS` over the window's frames, then
the same over all frames of the sound, then the sound's tempo. A dense network sees one row at a
time, so the row also has to describe the sound around the window.
"""

import tensorflow as tf

from components.audio import frame_descriptors as of_frames
from components.audio.settings import AudioSettings
from components.audio.tempo import median_onset_strength, onset_strength, tempo

_MFCC_COEFFICIENTS = AudioSettings.mfcc_coefficients


def _numbered(name: str, count: int) -> tuple[str, ...]:
    """`name1`, `name2`, … as the published columns of GTZAN count."""
    return tuple(f"{name}{number}" for number in range(1, count + 1))


# Quantities of one frame, in order. Names follow the dataset's features_30_sec.csv.
FRAME_COLUMNS = (
    *_numbered("chroma", of_frames.PITCH_CLASSES),
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    *_numbered("mfcc", _MFCC_COEFFICIENTS),
    *_numbered("contrast", of_frames.CONTRAST_BANDS),
    *_numbered("tonnetz", of_frames.TONNETZ_DIMENSIONS),
    "onset_strength",
)

# Statistics of a stretch of sound: each frame quantity's, then those over all pitch classes.
STATISTICS = (
    *(f"{name}_mean" for name in FRAME_COLUMNS),
    *(f"{name}_var" for name in FRAME_COLUMNS),
    "chroma_stft_mean",
    "chroma_stft_var",
)

COLUMNS = (
    *(f"window_{name}" for name in STATISTICS),
    *(f"clip_{name}" for name in STATISTICS),
    "clip_tempo",
)


def descriptors(
    waveform: tf.Tensor,
    magnitude: tf.Tensor,
    level_db: tf.Tensor,
    cepstrum: tf.Tensor,
    settings: AudioSettings,
) -> tf.Tensor:
    """Describes every whole window of a sound, one row each, in the order of `COLUMNS`.

    Args:
      waveform: float32 [samples], full scale is 1.
      magnitude: float32 [frames, fft_length / 2 + 1], from `spectral.magnitudes`.
      level_db: float32 [frames, mel_bins], from `spectral.log_mel`.
      cepstrum: float32 [frames, 20], from `spectral.mfcc`.
      settings: The analysis settings; 20 MFCCs.

    Returns:
      float32 [samples // window_samples, len(COLUMNS)].

    Raises:
      ValueError: The settings ask for another number of MFCCs than `COLUMNS` has.
    """
    if settings.mfcc_coefficients != _MFCC_COEFFICIENTS:
        raise ValueError(
            f"descriptors need mfcc_coefficients={_MFCC_COEFFICIENTS}. "
            f"Received: {settings.mfcc_coefficients}"
        )
    by_frame = frame_matrix(waveform, magnitude, level_db, cepstrum, settings)
    windows = tf.shape(waveform)[0] // settings.window_samples
    in_windows = tf.reshape(
        by_frame[: windows * settings.window_frames],
        [-1, settings.window_frames, len(FRAME_COLUMNS)],
    )
    whole = statistics(by_frame[tf.newaxis])
    onsets = median_onset_strength(level_db)
    row_end = tf.concat([whole, tf.reshape(tempo(onsets, settings), [1, 1])], axis=1)
    rows = tf.concat([statistics(in_windows), tf.repeat(row_end, windows, axis=0)], axis=1)
    static_samples = waveform.shape[0]
    static_windows = None if static_samples is None else static_samples // settings.window_samples
    return tf.ensure_shape(rows, [static_windows, len(COLUMNS)])


def frame_matrix(
    waveform: tf.Tensor,
    magnitude: tf.Tensor,
    level_db: tf.Tensor,
    cepstrum: tf.Tensor,
    settings: AudioSettings,
) -> tf.Tensor:
    """All quantities of each frame: float32 [frames, len(FRAME_COLUMNS)]; see `descriptors`."""
    frames = tf.shape(magnitude)[0]
    pitch_classes = of_frames.chroma(magnitude, settings)
    rms, zero_crossing_rate = of_frames.rms_and_zero_crossings(waveform, frames, settings)
    centroid, bandwidth = of_frames.centroid_and_bandwidth(magnitude, settings)
    return tf.concat(
        [
            pitch_classes,
            rms,
            centroid,
            bandwidth,
            of_frames.roll_off(magnitude, settings),
            zero_crossing_rate,
            cepstrum,
            of_frames.contrast(magnitude, settings),
            of_frames.tonnetz(pitch_classes),
            onset_strength(level_db),
        ],
        axis=1,
    )


def statistics(by_frame: tf.Tensor) -> tf.Tensor:
    """Mean and variance over the frames of each stretch, in the order of `STATISTICS`.

    Args:
      by_frame: float32 [stretches, frames, len(FRAME_COLUMNS)].

    Returns:
      float32 [stretches, len(STATISTICS)].
    """
    mean, variance = tf.nn.moments(by_frame, axes=[1])
    chroma_mean, chroma_variance = tf.nn.moments(
        by_frame[:, :, : of_frames.PITCH_CLASSES], axes=[1, 2]
    )
    return tf.concat(
        [mean, variance, chroma_mean[:, tf.newaxis], chroma_variance[:, tf.newaxis]], axis=1
    )
