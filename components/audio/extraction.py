"""Computes features in a TensorFlow graph, the same one for training and serving.

`extract` processes a batch clip by clip inside the graph. This bounds the memory for any batch (the
spectra of 1000 clips at once would take 26 GB), makes a clip's features independent of its batch,
and is fastest: the spectrum of one clip fits in the processor's cache, while eight clips at once
take twice the time per clip (figures: docs/notes/features.md).
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from components.audio.feature_entry import FeatureEntry
from components.audio.features import entry, feature
from components.audio.levelling import levelled
from components.audio.settings import AudioSettings
from components.audio.sound import Sound

# Clips computed in parallel: two keep a small machine busy, and each takes memory.
CLIPS_AT_ONCE = 2

_BYTES_PER_SAMPLE = 2
_INT16_FULL_SCALE = 32_768.0


def decode_pcm16(audio: tf.Tensor) -> tf.Tensor:
    """Decodes little-endian 16-bit PCM, as ingest wrote it.

    Args:
      audio: string [].

    Returns:
      float32 [samples] in [-1, 1).
    """
    samples = tf.io.decode_raw(audio, tf.int16, little_endian=True)
    return tf.cast(samples, tf.float32) / _INT16_FULL_SCALE


def extract(
    names: Sequence[str], waveform: tf.Tensor, settings: AudioSettings
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Computes features of a batch of sounds of equal length; not standardised.

    Each sound is brought to one loudness before (`components.audio.levelling`). The spectrum and
    the mel bands are computed once for all features that need them.

    Args:
      names: Which features, of `components.audio.catalog.FEATURE_NAMES`.
      waveform: float32 [batch, samples], full scale is 1. The number of samples may be unknown
        when the graph is built; at least `settings.minimum_samples` when it runs.
      settings: The analysis settings.

    Returns:
      For each name float32 [batch, frames, bins]; frames is static when the samples are. And which
      sounds are audible, bool [batch].

    Raises:
      ValueError: A name is unknown, or the waveform has another rank.

    Examples:
      >>> settings = AudioSettings()
      >>> silence = tf.zeros([2, 4 * settings.sample_rate_hz])  # two sounds of four seconds
      >>> features, audible = extract(["log_mel", "mfcc"], silence, settings)
      >>> features["log_mel"].shape, features["mfcc"].shape
      (TensorShape([2, 173, 128]), TensorShape([2, 173, 20]))
      >>> audible.numpy().tolist()
      [False, False]
    """
    if waveform.shape.rank != 2:
        raise ValueError(
            f"`waveform` must be float32 [batch, samples]. Received: {waveform.dtype.name} "
            f"of shape {waveform.shape}"
        )
    samples = waveform.shape[1]
    shapes = {
        name: [
            None if samples is None else frames_of(name, samples, settings),
            feature(name, settings).bins,
        ]
        for name in names
    }

    def of_clip(index: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return _of_clip(names, tf.ensure_shape(waveform[index], [samples]), settings)

    # Over indices, because mapping over `waveform` itself would copy all of it first.
    matrices, audible = tf.map_fn(
        of_clip,
        tf.range(tf.shape(waveform)[0]),
        parallel_iterations=CLIPS_AT_ONCE,
        fn_output_signature=_specs(shapes),
    )
    by_name = {
        name: tf.ensure_shape(matrices[name], [waveform.shape[0], *shape])
        for name, shape in shapes.items()
    }
    return by_name, audible


def extract_pcm16(
    names: Sequence[str], audio: tf.Tensor, settings: AudioSettings
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Computes features of the clips in tracks' records, each clip by itself.

    A clip's features are those of its own sound, whatever its length (`features_of_clip`, as in
    serving). Its matrix is then padded with zeros to `frames_per_clip`, so that all shapes but the
    batch are static. PCM is decoded one clip at a time: the whole batch as floats (2.6 GB for
    1000 clips) never lies in memory.

    Args:
      names: Which features, of `components.audio.catalog.FEATURE_NAMES`.
      audio: string [batch], 16-bit PCM: a track's clips end to end, all but the last one of
        `settings.clip_samples`. What is beyond `settings.clips_per_track` clips is left out, and so
        is a last clip under `settings.minimum_samples`.
      settings: The analysis settings.

    Returns:
      By name the matrices, float32 [batch, clips_per_track * frames_per_clip, bins], and how many
      frames of each clip are of sound, int64 [batch, clips_per_track] (0 where there is no clip, or
      a silent one).
    """
    if audio.shape.rank != 1:
        raise ValueError(
            f"`audio` must be string [batch]. Received: {audio.dtype.name} of shape {audio.shape}"
        )
    if not names:
        return {}, {}
    features = {name: feature(name, settings) for name in names}
    lengths = _clip_lengths(audio, settings)
    starts = tf.range(settings.clips_per_track) * settings.clip_samples
    # Absent clips are read at the end of the string, where there is nothing.
    offsets = tf.minimum(starts * _BYTES_PER_SAMPLE, tf.strings.length(audio)[:, tf.newaxis])
    clips = tf.strings.substr(audio[:, tf.newaxis], offsets, lengths * _BYTES_PER_SAMPLE)
    clips = tf.reshape(clips, [-1])

    def of_sound(waveform: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        matrices, audible = _of_clip(names, waveform, settings)
        filled_up = {
            name: _filled_up(tf.where(audible, matrix, 0.0), features[name].frames_per_clip)
            for name, matrix in matrices.items()
        }
        return filled_up, audible

    def of_clip(index: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        matrices, audible = tf.cond(
            tf.strings.length(clips[index]) > 0,
            lambda: of_sound(decode_pcm16(clips[index])),
            lambda: ({name: tf.zeros(features[name].clip_shape) for name in names}, False),
        )
        static = {
            name: tf.ensure_shape(matrix, features[name].clip_shape)
            for name, matrix in matrices.items()
        }
        return static, audible

    matrices, audible = tf.map_fn(
        of_clip,
        tf.range(tf.size(clips)),
        parallel_iterations=CLIPS_AT_ONCE,
        fn_output_signature=_specs({name: features[name].clip_shape for name in names}),
    )
    by_track = {
        name: tf.ensure_shape(
            tf.reshape(matrices[name], [-1, *features[name].track_shape]),
            [audio.shape[0], *features[name].track_shape],
        )
        for name in names
    }
    lengths = tf.where(tf.reshape(audible, tf.shape(lengths)), lengths, 0)
    frames = {name: tf.cast(frames_of(name, lengths, settings), tf.int64) for name in names}
    return by_track, frames


def _clip_lengths(audio: tf.Tensor, settings: AudioSettings) -> tf.Tensor:
    """Samples in each clip of PCM [batch]: int32 [batch, clips_per_track], 0 for no clip."""
    samples = tf.strings.length(audio)[:, tf.newaxis] // _BYTES_PER_SAMPLE
    starts = tf.range(settings.clips_per_track) * settings.clip_samples
    lengths = tf.clip_by_value(samples - starts, 0, settings.clip_samples)
    return tf.where(lengths >= settings.minimum_samples, lengths, 0)


def _filled_up(matrix: tf.Tensor, rows: int) -> tf.Tensor:
    return tf.pad(matrix, [[0, rows - tf.shape(matrix)[0]], [0, 0]])


def _specs(
    shapes: Mapping[str, Sequence[int | None]],
) -> tuple[dict[str, tf.TensorSpec], tf.TensorSpec]:
    """What `_of_clip` returns of a clip."""
    matrices = {name: tf.TensorSpec(shape, tf.float32) for name, shape in shapes.items()}
    return matrices, tf.TensorSpec([], tf.bool)


def frames_of(name: str, samples: int | tf.Tensor, settings: AudioSettings) -> int | tf.Tensor:
    """Rows of the feature `name` for a sound of `samples` samples."""
    return entry(name).frames_in(samples, settings)


def features_of_clip(
    names: Sequence[str], waveform: tf.Tensor, settings: AudioSettings
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Brings one sound to one loudness and computes its features; see `extract`.

    Args:
      names: Which features.
      waveform: float32 [samples].
      settings: The analysis settings.

    Returns:
      For each name float32 [frames, bins], and whether the sound is audible, bool [].
    """
    waveform, audible = levelled(waveform, settings)
    sound = Sound(waveform, settings)
    return {name: entry(name).compute(sound) for name in names}, audible


def _of_clip(
    names: Sequence[str], waveform: tf.Tensor, settings: AudioSettings
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """`features_of_clip`; the graphs of this process share the part that computes it."""
    if tf.executing_eagerly():
        return features_of_clip(names, waveform, settings)
    return _shared_function(tuple(entry(name) for name in names), settings)(waveform)


@functools.lru_cache(maxsize=32)
def _shared_function(
    entries: tuple[FeatureEntry, ...], settings: AudioSettings
) -> Callable[[tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]:
    """A function that is traced once for all graphs that call it.

    Transform builds its graph ten times and an export five times, and tracing the operations of
    descriptors takes a second each time.
    """
    names = tuple(each.name for each in entries)
    return tf.function(
        lambda waveform: features_of_clip(names, waveform, settings), autograph=False
    )


def standardise(x: tf.Tensor, mean: tf.Tensor, standard_deviation: tf.Tensor) -> tf.Tensor:
    """Subtracts the mean and divides by the standard deviation, column by column.

    A column that varies by less than a millionth of its mean (rounding errors) is only centred, as
    dividing by its deviation would amplify noise.

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


def is_sound(frames: tf.Tensor, frames_per_clip: int) -> tf.Tensor:
    """Marks the rows of tracks' matrices that are sound rather than padding.

    Args:
      frames: int64 [batch, clips], from `extract_pcm16`.
      frames_per_clip: Rows for a clip.

    Returns:
      bool [batch, clips * frames_per_clip].
    """
    mask = tf.sequence_mask(frames, frames_per_clip)
    return tf.reshape(mask, [-1, frames.shape[1] * frames_per_clip])


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
