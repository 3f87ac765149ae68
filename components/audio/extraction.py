"""Features from sound inside a TensorFlow graph: the same graph for training and for serving.

`extract` goes through a batch clip by clip inside the graph. That bounds the memory, whatever the
batch (the spectra of 1000 clips at once would take 26 GB), keeps a clip's features independent of
its batch, and is also the fastest way: one clip's spectrum stays in the processor's cache, where
eight at once take twice the time a clip (figures: docs/features.md).
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from components.audio import spectral
from components.audio.descriptors import descriptors
from components.audio.features import feature
from components.audio.music_mel import music_mel
from components.audio.settings import AudioSettings

# Clips in work at once: two fill small machines, and each costs memory.
CLIPS_AT_ONCE = 2

_BYTES_PER_SAMPLE = 2
_INT16_FULL_SCALE = 32_768.0


def decode_pcm16(audio: tf.Tensor, clip_samples: int) -> tf.Tensor:
    """Decodes a batch of little-endian 16-bit PCM, as ingest wrote it.

    Args:
      audio: string [batch]; shorter sounds are followed by zeros, longer ones are cut.
      clip_samples: Samples in every result.

    Returns:
      float32 [batch, clip_samples] in [-1, 1).
    """
    samples = tf.io.decode_raw(
        audio, tf.int16, little_endian=True, fixed_length=clip_samples * _BYTES_PER_SAMPLE
    )
    waveform = tf.cast(samples, tf.float32) / _INT16_FULL_SCALE
    return tf.ensure_shape(waveform, [*audio.shape, clip_samples])


def extract(
    names: Sequence[str], waveform: tf.Tensor, settings: AudioSettings
) -> dict[str, tf.Tensor]:
    """Computes features of a batch of sounds of equal length; not standardised.

    What several features need (the spectrum, the mel bands) is computed once.

    Args:
      names: Which features, of `components.audio.features.FEATURE_NAMES`.
      waveform: float32 [batch, samples], full scale is 1. The number of samples may be unknown
        when the graph is built; at least `settings.minimum_samples` when it runs.
      settings: The analysis settings.

    Returns:
      For each name float32 [batch, frames, bins]; frames is static when the samples are.

    Raises:
      ValueError: A name is unknown, or the waveform has another rank.
    """
    if waveform.shape.rank != 2:
        raise ValueError(
            f"`waveform` must be float32 [batch, samples]. Received: {waveform.dtype.name} "
            f"of shape {waveform.shape}"
        )
    return _clip_by_clip(names, waveform, waveform.shape[1], settings, lambda clip: clip)


def extract_pcm16(
    names: Sequence[str], audio: tf.Tensor, settings: AudioSettings
) -> dict[str, tf.Tensor]:
    """Computes features of a batch of 16-bit PCM clips, decoding them one at a time.

    Equals `extract(names, decode_pcm16(audio, settings.clip_samples), settings)` without ever
    holding the whole batch as floats (2.6 GB for 1000 clips).

    Args:
      names: Which features, of `components.audio.features.FEATURE_NAMES`.
      audio: string [batch], see `decode_pcm16`.
      settings: The analysis settings.

    Returns:
      For each name float32 [batch, frames, bins], all shapes but the batch static.
    """
    if audio.shape.rank != 1:
        raise ValueError(
            f"`audio` must be string [batch]. Received: {audio.dtype.name} of shape {audio.shape}"
        )
    clip_samples = settings.clip_samples
    return _clip_by_clip(
        names, audio, clip_samples, settings, lambda clip: decode_pcm16(clip, clip_samples)
    )


def _clip_by_clip(
    names: Sequence[str],
    sounds: tf.Tensor,
    samples: int | None,
    settings: AudioSettings,
    to_waveform: Callable[[tf.Tensor], tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Maps `features_of_clip` over the first axis of `sounds`, each of `samples` samples."""
    if not names:
        return {}
    shapes = {
        name: [frames_of(name, samples, settings), feature(name, settings).bins] for name in names
    }

    def of_clip(index: tf.Tensor) -> dict[str, tf.Tensor]:
        waveform = tf.ensure_shape(to_waveform(sounds[index]), [samples])
        return features_of_clip(names, waveform, settings)

    # Over indices, because mapping over `sounds` itself would copy all of them first.
    matrices = tf.map_fn(
        of_clip,
        tf.range(tf.shape(sounds)[0]),
        parallel_iterations=CLIPS_AT_ONCE,
        fn_output_signature={
            name: tf.TensorSpec(shape, tf.float32) for name, shape in shapes.items()
        },
    )
    return {
        name: tf.ensure_shape(matrices[name], [sounds.shape[0], *shape])
        for name, shape in shapes.items()
    }


def frames_of(name: str, samples: int | None, settings: AudioSettings) -> int | None:
    """Rows of the feature `name` for a sound of `samples` samples; None when that is unknown."""
    if samples is None:
        return None
    if name == "descriptors":
        return samples // settings.window_samples
    hop_length = round(settings.sample_rate_hz / feature(name, settings).frames_per_second)
    return -(-samples // hop_length)


def features_of_clip(
    names: Sequence[str], waveform: tf.Tensor, settings: AudioSettings
) -> dict[str, tf.Tensor]:
    """Computes the features of one sound; see `extract`.

    Args:
      names: Which features.
      waveform: float32 [samples].
      settings: The analysis settings.

    Returns:
      For each name float32 [frames, bins].
    """
    result = {}
    if "music_mel" in names:
        result["music_mel"] = music_mel(waveform, settings)
    if set(names) & {"log_mel", "mfcc", "descriptors"}:
        magnitude = spectral.magnitudes(waveform, settings)
        level_db = spectral.log_mel(magnitude, settings)
        cepstrum = spectral.mfcc(level_db, settings)
        computed = {"log_mel": level_db, "mfcc": cepstrum}
        if "descriptors" in names:
            computed["descriptors"] = descriptors(waveform, magnitude, level_db, cepstrum, settings)
        result.update({name: computed[name] for name in names if name in computed})
    return {name: result[name] for name in names}


def standardise(x: tf.Tensor, mean: tf.Tensor, standard_deviation: tf.Tensor) -> tf.Tensor:
    """Subtracts the mean and divides by the standard deviation, column by column.

    A column that hardly varies (by less than a millionth of its mean: rounding) is only centred, as
    dividing by its deviation would blow up noise.

    Args:
      x: float32 [..., bins].
      mean: float32 [bins].
      standard_deviation: float32 [bins].

    Returns:
      float32 of x's shape.
    """
    least = tf.maximum(1e-6 * tf.abs(mean), 1e-12)
    scale = tf.where(standard_deviation > least, standard_deviation, tf.ones_like(mean))
    return (x - mean) / scale


def cut_windows(matrix: tf.Tensor, window_frames: int) -> tf.Tensor:
    """Cuts feature matrices into windows, end to end; the remainder is dropped.

    Args:
      matrix: float32 [batch, frames, bins].
      window_frames: Frames in a window.

    Returns:
      float32 [batch, frames // window_frames, window_frames, bins].
    """
    bins = matrix.shape[-1]
    frames = matrix.shape[1]
    if frames is not None:
        windows = frames // window_frames
        whole = matrix[:, : windows * window_frames]
        return tf.reshape(whole, [-1, windows, window_frames, bins])
    shape = tf.shape(matrix)
    windows = shape[1] // window_frames
    whole = matrix[:, : windows * window_frames]
    return tf.reshape(whole, [shape[0], windows, window_frames, bins])
