"""The functions behind the signatures of a release: sound or features in, genres out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.audio import extraction, loudness
from components.audio.features import Feature
from components.audio.resampling import resampled
from components.audio.settings import RATE_RULE, AudioSettings, is_usual
from components.common import temperature as temperature_scaling
from components.trainer.release.wav import checked, decode_wav

_NOT_FINITE = "audio holds NaN or infinite samples"


@dataclasses.dataclass(frozen=True)
class Branch:
    """A network and the feature that it reads.

    Attributes:
      network: Maps windows [batch, window_frames, bins] to probabilities [batch, genres].
      feature: The feature that windows are cut from.
      weight: How much it counts among the branches of an ensemble, over 0.
    """

    network: keras.Model
    feature: Feature
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """Statistics of one feature over the training split, float32 [bins] each."""

    mean: np.ndarray
    deviation: np.ndarray


@dataclasses.dataclass(frozen=True)
class GenreGraph:
    """The functions behind the signatures, which run in a TensorFlow graph.

    With several branches, a window's probabilities are their weighted mean, and a clip has
    the windows that all branches have. The probabilities of a sound are the mean over the windows
    that lie within the sound of its audible clips; the other windows are zero. Each clip is brought
    to one loudness by itself, as in training, so a song in parts has the answer of the whole.

    What is answered is calibrated by temperature scaling (Guo et al. 2017, arXiv 1706.04599): the
    logarithms of a sound's probabilities are divided by the temperature and normalised again, so
    that their order stays. Each window is scaled by the same map. Since the mean of scaled windows
    is not the scaled mean, the temperature is answered too: a client that asks for a long sound in
    parts takes the scaling of the windows back with it, averages, and scales again
    (`components.common.temperature.merged`).

    Attributes:
      branches: One for a single model, several for an ensemble.
      settings: The analysis settings.
      genres: Names in label order.
      statistics: The statistics of each standardised feature that a branch reads, by name.
      temperature: T of the scaling, above 0; 1 answers what the networks do.
    """

    branches: Sequence[Branch]
    settings: AudioSettings
    genres: Sequence[str]
    statistics: Mapping[str, Standardisation]
    temperature: float = 1.0

    def from_features(
        self, matrices: Mapping[str, tf.Tensor], frames: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Classifies transformed features.

        Args:
          matrices: The features by name, as Transform gives them, float32
            [batch, clips * frames_per_clip, bins].
          frames: Number of frames of sound in each clip, by name of the feature, int64
            [batch, clips].

        Returns:
          Those of `classify_audio`.

        Raises:
          InvalidArgumentError: A sound is shorter than a window or silent, or there is none.
        """
        features = {branch.feature.name: branch.feature for branch in self.branches}
        clips = tf.shape(_some(next(iter(frames.values())), "examples"))[1]
        counting = tf.reduce_min(
            [frames[name] // feature.window_frames for name, feature in features.items()],
            axis=0,
        )

        def of_clip(clip: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_this_clip = {}
            for name, feature in features.items():
                rows = feature.frames_per_clip
                of_this_clip[name] = matrices[name][:, clip * rows : (clip + 1) * rows]
            return self._of_clip(of_this_clip), tf.cast(counting[:, clip], tf.int32)

        return self._answer(
            *self._by_clip(
                of_clip,
                clips,
                f"audio is too short or silent: at least {self.settings.minimum_samples} samples "
                f"and a loudness of {loudness.SILENCE_LUFS:g} LUFS are needed",
            )
        )

    def from_sound(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies sounds of equal length, at least one window each.

        Sound is cut into clips of `clip_seconds`, end to end, and each clip is analysed by itself,
        like the clip of a track in training. The rest at the end is a clip of its own if it has at
        least `minimum_samples`, and is left out otherwise. With the usual settings, window i begins
        at `30 s * (i // 10) + 2.97 s * (i % 10)`.

        Args:
          audio: float32 [batch, samples] in [-1, 1], at the settings' sample rate.

        Returns:
          `probabilities` float32 [batch, genres], `genres` string [batch, genres] (names in the
          same order), `window_probabilities` float32 [batch, windows, genres] and `temperature`
          float32 [batch], the same for all.

        Raises:
          InvalidArgumentError: The sound is shorter than a window or silent, a sample is NaN or
            infinite, or the batch is empty.
        """
        return self._answer(*self._of_sound(audio))

    def _of_sound(self, audio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Probabilities before scaling, of the sounds [batch, genres] and of their windows."""
        clip_samples, needed = self.settings.clip_samples, self.settings.minimum_samples
        length_rule = (
            f"audio is too short: at least {needed} samples "
            f"({self.settings.window_seconds:g} s at {self.settings.sample_rate_hz} Hz) "
            "are needed. Received samples:"
        )
        samples = tf.shape(audio)[1]
        audio = checked(
            _some(audio, "audio"),
            (samples >= needed, [length_rule, samples]),
            (tf.reduce_all(tf.math.is_finite(audio)), [_NOT_FINITE]),
        )
        samples = tf.shape(audio)[1]
        names = list(dict.fromkeys(branch.feature.name for branch in self.branches))

        def of_clip(clip: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sound = audio[:, clip * clip_samples : (clip + 1) * clip_samples]
            matrices, audible = extraction.extract(names, sound, self.settings)
            for name, statistics in self.statistics.items():
                matrices[name] = extraction.standardise(
                    matrices[name], tf.constant(statistics.mean), tf.constant(statistics.deviation)
                )
            windows_of_sound = self._windows_in(tf.shape(sound)[1])
            return self._of_clip(matrices), tf.where(audible, windows_of_sound, 0)

        rest = samples % clip_samples
        clips = samples // clip_samples + tf.cast(rest >= needed, tf.int32)
        silence = f"audio is silent: no clip of it reaches {loudness.SILENCE_LUFS:g} LUFS"
        probabilities, windows = self._by_clip(of_clip, clips, silence)
        last = self._windows_in(tf.where(rest >= needed, rest, clip_samples))
        return probabilities, windows[:, : (clips - 1) * self._windows_per_clip + last]

    def from_sound_at_rate(
        self, audio: tf.Tensor, sample_rate_hz: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Classifies sounds of equal length and of any usual rates, each resampled by itself.

        Args:
          audio: float32 [batch, samples] in [-1, 1].
          sample_rate_hz: int32 [batch], 8000 to 192,000 Hz: multiples of 50 or 11,025 Hz.

        Returns:
          Those of `classify_wav`.

        Raises:
          InvalidArgumentError: As `classify_audio`; or there is no such rate for each sound.
        """
        rows = tf.shape(audio)[0]
        rates = checked(
            tf.cast(sample_rate_hz, tf.int64),
            (
                tf.size(sample_rate_hz) == rows,
                ["each sound needs a sample_rate_hz. Received:", tf.size(sample_rate_hz)],
            ),
        )
        return self._one_by_one(lambda row: self._resampled(*row), (_some(audio, "audio"), rates))

    def from_wav(self, wav: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies WAV files one by one, so that their lengths may differ.

        Args:
          wav: string [batch]: RIFF/WAVE files, PCM of 8 to 32 bits or float, of any channels and of
            rates as `classify_audio_at_rate` takes.

        Returns:
          Those of `classify_audio`; rows of `window_probabilities` after a file's end are zero.

        Raises:
          InvalidArgumentError: It is not such a file, is too short or silent; or the batch is
            empty.
        """
        return self._one_by_one(lambda data: self._resampled(*decode_wav(data)), _some(wav, "wav"))

    def _one_by_one(self, sound_of: Callable[[Any], tf.Tensor], rows: Any) -> dict[str, tf.Tensor]:
        """Classifies rows of a batch whose sounds may differ in length.

        Args:
          sound_of: Maps a row to a sound at the settings' rate, float32 [samples].
          rows: A tensor, or several, of [batch, …].
        """
        genres = len(self.genres)

        def of_row(row: Any) -> tuple[tf.Tensor, tf.Tensor]:
            probabilities, windows = self._of_sound(sound_of(row)[tf.newaxis])
            return probabilities[0], windows[0]

        probabilities, windows = tf.map_fn(
            of_row,
            rows,
            parallel_iterations=extraction.CLIPS_AT_ONCE,
            fn_output_signature=(
                tf.TensorSpec([genres], tf.float32),
                tf.RaggedTensorSpec([None, genres], tf.float32, 0),
            ),
        )
        return self._answer(probabilities, windows.to_tensor(shape=[None, None, genres]))

    def _resampled(self, sound: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        """A sound [samples] of a rate in hertz, int64 [], at the settings' rate."""
        message = f"the sample rate must be {RATE_RULE}. Received:"
        rate = checked(rate, (is_usual(rate), [message, rate]))
        sound = checked(sound, (tf.reduce_all(tf.math.is_finite(sound)), [_NOT_FINITE]))
        own_rate = self.settings.sample_rate_hz
        return tf.cond(
            rate == own_rate,
            lambda: sound,
            lambda: tf.clip_by_value(
                resampled(sound, tf.cast(rate, tf.int32), own_rate), -1.0, 1.0
            ),
        )

    @property
    def _windows_per_clip(self) -> int:
        """Windows of a whole clip that all branches have; their lengths differ slightly."""
        return min(branch.feature.windows_per_clip for branch in self.branches)

    def _windows_in(self, samples: tf.Tensor) -> tf.Tensor:
        """Windows of a clip of so many samples that all branches have, int32 []."""
        frames = {
            branch.feature: extraction.frames_of(branch.feature.name, samples, self.settings)
            for branch in self.branches
        }
        return tf.reduce_min([count // feature.window_frames for feature, count in frames.items()])

    def _by_clip(
        self,
        of_clip: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        clips: tf.Tensor,
        refusal: str,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps `of_clip` over the clips of a batch, a few at a time to bound the memory.

        Args:
          of_clip: Maps the number of a clip, int32 [], to probabilities as from `_of_clip`, and to
            the number of its windows that count in each sound, int32 [batch].
          clips: Number of clips, int32 [].
          refusal: The error where a sound has no window that counts.

        Returns:
          The mean over the windows that count, float32 [batch, genres], and all windows, float32
          [batch, clips * windows_per_clip, genres], zero where they do not count.
        """
        per_clip, genres = self._windows_per_clip, len(self.genres)
        windows, counting = tf.map_fn(
            of_clip,
            tf.range(clips),
            parallel_iterations=extraction.CLIPS_AT_ONCE,
            fn_output_signature=(
                tf.TensorSpec([None, per_clip, genres], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ),
        )
        counting = tf.transpose(counting)
        counting = checked(counting, (tf.reduce_all(tf.reduce_any(counting > 0, 1)), [refusal]))
        shape = [tf.shape(counting)[0], clips * per_clip, genres]
        by_sound = tf.reshape(tf.transpose(windows, [1, 0, 2, 3]), shape)
        counts = tf.reshape(tf.sequence_mask(counting, per_clip), [*shape[:2], 1])
        by_sound = tf.where(counts, by_sound, 0.0)
        total = tf.reduce_sum(tf.cast(counts, tf.float32), axis=1)
        return tf.reduce_sum(by_sound, axis=1) / total, by_sound

    def _of_clip(self, matrices: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Classifies the windows of one clip of each sound in a batch.

        Args:
          matrices: The features by name, float32 [batch, frames, bins].

        Returns:
          float32 [batch, windows_per_clip, genres], zero after the windows of a short clip.
        """
        cut = {
            branch.feature.name: extraction.cut_windows(
                matrices[branch.feature.name], branch.feature.window_frames
            )
            for branch in self.branches
        }
        shared = tf.reduce_min(
            [self._windows_per_clip, *(tf.shape(windows)[1] for windows in cut.values())]
        )
        total = sum(branch.weight for branch in self.branches)
        outputs = [
            self._of_windows(branch, cut[branch.feature.name][:, :shared]) * (branch.weight / total)
            for branch in self.branches
        ]
        return tf.pad(tf.add_n(outputs), [[0, 0], [0, self._windows_per_clip - shared], [0, 0]])

    def _of_windows(self, branch: Branch, windows: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(windows)
        flat = tf.reshape(windows, [-1, *branch.feature.window_shape])
        probabilities = tf.cast(branch.network(flat, training=False), tf.float32)
        return tf.reshape(probabilities, [shape[0], shape[1], len(self.genres)])

    def _answer(self, probabilities: tf.Tensor, windows: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(probabilities)[0]
        return {
            "probabilities": self._scaled(probabilities),
            "genres": tf.tile([list(self.genres)], [batch, 1]),
            "window_probabilities": self._scaled(windows),
            "temperature": tf.fill([batch], tf.constant(self.temperature, tf.float32)),
        }

    def _scaled(self, probabilities: tf.Tensor) -> tf.Tensor:
        """`components.common.temperature.scaled` in the graph; rows of zeros stay zero."""
        if self.temperature == 1.0:
            return probabilities
        logarithms = tf.math.log(probabilities + temperature_scaling.EPSILON) / self.temperature
        # NaN is no zero: a network that fails must show in its answers.
        empty = tf.reduce_all(probabilities == 0.0, axis=-1, keepdims=True)
        return tf.where(empty, tf.zeros_like(probabilities), tf.nn.softmax(logarithms))


def _some(values: tf.Tensor, name: str) -> tf.Tensor:
    """Refuses a batch of no rows, on which later operations fail with messages of their own."""
    message = f"{name} is empty: a batch of at least one row is needed"
    return checked(values, (tf.shape(values)[0] > 0, [message]))
