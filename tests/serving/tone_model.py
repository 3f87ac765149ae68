"""A SavedModel with Gatefold's signatures that needs no training: it tells tones apart.

The sound's strongest of ten frequency bands is its genre, so a test knows the right answer for a
tone that it makes. It has variables (so that a loader that does not restore them fails), warmup
requests and genres.txt, as every release does.
"""

import pathlib
from collections.abc import Collection

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.audio.resampling import resampled
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.trainer.release.wav import decode_wav

SETTINGS = AudioSettings()
BAND_HZ = 800


def tone(genre: str, *, seconds: float = 4.0, level: float = 0.5) -> np.ndarray:
    """Sound that the model calls `genre`: float32 [samples], a sine in the middle of its band."""
    frequency_hz = (GENRES.index(genre) + 0.5) * BAND_HZ
    time = np.arange(int(seconds * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def serialized_example(samples: np.ndarray, *, genre: str = "blues") -> bytes:
    """A raw example of exactly one clip."""
    clip = np.zeros(SETTINGS.clip_samples, np.int16)
    count = min(len(samples), len(clip))
    clip[:count] = np.round(samples[:count] * 32767)
    feature = {
        "audio": tf.train.Feature(bytes_list=tf.train.BytesList(value=[clip.tobytes()])),
        "genre": tf.train.Feature(bytes_list=tf.train.BytesList(value=[genre.encode()])),
        "track_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"test.00000"])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


class ToneModel(tf.Module):
    """The network: energy in ten bands, window by window."""

    def __init__(self, *, rotation: int = 0, gate: str = "") -> None:
        super().__init__()
        # Runs wait until somebody opens this pipe for reading, so that a test decides how long.
        self.gate = gate
        # `rotation` shifts every answer by so many genres: tests tell versions apart by it.
        self.mixing = tf.Variable(np.roll(np.eye(10, dtype=np.float32), rotation, axis=1))
        self.sharpness = tf.Variable(np.float32(2.0))

    def _classify(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        samples = tf.shape(audio)[1]
        checks = [
            tf.debugging.assert_greater_equal(
                samples,
                SETTINGS.minimum_samples,
                message=f"the sound is shorter than {SETTINGS.minimum_samples} samples",
            ),
            tf.debugging.assert_all_finite(audio, "the sound holds NaN or infinity"),
        ]
        if self.gate:
            checks.append(tf.io.write_file(self.gate, "x"))
        with tf.control_dependencies(checks):
            audio = tf.identity(audio)
        length, clip = SETTINGS.window_samples, SETTINGS.clip_samples
        # In clips, as a release takes sound: what is left at a clip's end is in no window.
        whole, rest = samples // clip, samples % clip
        last = tf.where(rest >= SETTINGS.minimum_samples, rest // length, 0)
        windows = whole * (clip // length) + last
        index = tf.range(windows)
        starts = index // (clip // length) * clip + index % (clip // length) * length
        cut = tf.gather(audio, starts[:, tf.newaxis] + tf.range(length), axis=1)
        power = tf.abs(tf.signal.rfft(cut)) ** 2
        width = int(BAND_HZ * length / SETTINGS.sample_rate_hz)
        bands = tf.reshape(power[..., : 10 * width], [-1, windows, 10, width])
        energy = tf.math.log(tf.reduce_mean(bands, -1) + 1e-6)
        by_window = tf.nn.softmax(tf.linalg.matmul(self.sharpness * energy, self.mixing))
        probabilities = tf.reduce_mean(by_window, 1)
        names = tf.constant(GENRES)
        return {
            "probabilities": tf.ensure_shape(probabilities, [None, 10]),
            "genres": tf.ensure_shape(
                tf.tile(names[tf.newaxis], [tf.shape(audio)[0], 1]), [None, 10]
            ),
            "window_probabilities": tf.ensure_shape(by_window, [None, None, 10]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="audio")])
    def classify_audio(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._classify(audio)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="wav")])
    def classify_wav(self, wav: tf.Tensor) -> dict[str, tf.Tensor]:
        def decode(data: tf.Tensor) -> tf.Tensor:
            sound, rate = decode_wav(data)
            own_hz = SETTINGS.sample_rate_hz
            return tf.cond(
                rate == own_hz,
                lambda: sound,
                lambda: resampled(sound, tf.cast(rate, tf.int32), own_hz),
            )

        spec = tf.TensorSpec([None], tf.float32)
        return self._classify(tf.map_fn(decode, wav, fn_output_signature=spec))

    def _waveform(self, examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(
            examples,
            {
                "audio": tf.io.FixedLenFeature([], tf.string),
                "genre": tf.io.FixedLenFeature([], tf.string, ""),
            },
        )
        pcm = tf.io.decode_raw(parsed["audio"], tf.int16, fixed_length=2 * SETTINGS.clip_samples)
        return tf.cast(pcm, tf.float32) / 32768.0, parsed["genre"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = self._classify(self._waveform(examples)[0])
        return {name: answers[name] for name in ("probabilities", "genres")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        waveform, genre = self._waveform(examples)
        frames = tf.reshape(waveform[:, : 1291 * 512], [-1, 1291, 512])
        level = tf.math.log(tf.reduce_mean(frames**2, -1, keepdims=True) + 1e-9)
        label = tf.argmax(tf.equal(genre[:, tf.newaxis], tf.constant(GENRES)[tf.newaxis]), 1)
        return {"log_mel": tf.ensure_shape(level, [None, 1291, 1]), "label": label}


def write_tone_model(path: pathlib.Path, *, rotation: int = 0, gate: str = "") -> None:
    """Writes a version folder.

    Args:
      path: The folder, named by its number.
      rotation: By how many genres every answer is shifted.
      gate: A pipe that its runs wait for; it has no warmup requests then.
    """
    model = ToneModel(rotation=rotation, gate=gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    signatures = {
        "serving_default": model.serving_default,
        "classify_audio": model.classify_audio,
        "classify_wav": model.classify_wav,
        "transform_features": model.transform_features,
    }
    tf.saved_model.save(model, str(path), signatures=signatures)
    genres = path / "assets" / "genres.txt"
    genres.parent.mkdir(exist_ok=True)
    genres.write_text("\n".join(GENRES) + "\n")
    if not gate:
        write_warmup(path, signatures)


def write_warmup(path: pathlib.Path, signatures: Collection[str]) -> None:
    """Writes a warmup request for each of the signatures."""
    samples = tone(GENRES[5], seconds=3.5)
    wav = tf.audio.encode_wav(samples[:, np.newaxis], SETTINGS.sample_rate_hz).numpy()
    example = serialized_example(samples)
    requests = {
        "serving_default": ("examples", np.array([example], object)),
        "classify_audio": ("audio", samples[np.newaxis]),
        "classify_wav": ("wav", np.array([wav], object)),
        "transform_features": ("examples", np.array([example], object)),
    }
    extra = path / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for signature in signatures:
            name, value = requests[signature]
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "genre"
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
