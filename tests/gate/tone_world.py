"""Forty tracks whose genre is their pitch, and SavedModels that are bad at it in one way each."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts

from components.audio import codec
from components.common import raw_examples
from components.common.artifacts import Report
from components.gtzan.genres import GENRES
from tests.conftest import serialise
from tests.serving.tone_model import SETTINGS, ToneModel, write_warmup

PER_GENRE = 4
NEAR_DUPLICATES = [
    {
        "first": "blues/blues.00000.wav",
        "second": "blues/blues.00001.wav",
        "similarity": 0.97,
        "shift_seconds": 0.0,
        "first_split": "train",
        "second_split": second,
        "across_splits": second != "train",
    }
    for second in ("train", "test")
]
SECONDS = 4.0
BAND_HZ = 800.0


class Listener(ToneModel):
    """Takes the band of the loudest tone for the genre.

    Args:
      confidence: Probability of the genre that it hears.
      shift: Part of a band by which it hears every tone too high.
      always: The genre that it always answers, instead of listening.
      forgets: A genre that it takes for the next one.
      reads_low_bits: Whether it reads the genre from the samples' lowest four bits, in which these
        tracks have it too, and no coder keeps them.
      rounds: Matrix products that it does for nothing.
    """

    def __init__(
        self,
        *,
        confidence: float = 0.97,
        shift: float = 0.0,
        always: str = "",
        forgets: str = "",
        reads_low_bits: bool = False,
        rounds: int = 0,
    ) -> None:
        super().__init__()
        self.confidence = tf.Variable(np.float32(confidence))
        self._shift, self._always, self._forgets = shift, always, forgets
        self._reads_low_bits, self._rounds = reads_low_bits, rounds

    def _classify(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        checks = [tf.debugging.assert_all_finite(audio, "the sound holds NaN or infinity")]
        with tf.control_dependencies(checks):
            cut = audio[:, tf.newaxis, : SETTINGS.window_samples]
        if self._reads_low_bits:
            samples = tf.cast(tf.round(cut * 32768.0), tf.int32)
            counts = tf.reduce_sum(tf.one_hot(samples % 16, 16), axis=2)
            place = tf.argmax(counts, axis=-1)
        else:
            power = tf.abs(tf.signal.rfft(cut))
            hertz = tf.cast(tf.argmax(power, -1), tf.float32) * (
                SETTINGS.sample_rate_hz / SETTINGS.window_samples
            )
            place = tf.cast(hertz / BAND_HZ + self._shift, tf.int64)
        if self._forgets:
            forgotten = GENRES.index(self._forgets)
            place = tf.where(place == forgotten, tf.constant(forgotten + 1, tf.int64), place)
        if self._always:
            place = tf.zeros_like(place) + GENRES.index(self._always)
        if self._rounds:
            matrix = tf.random.normal([512, 512])
            wasted = tf.foldl(
                lambda product, _: tf.tanh(product @ matrix), tf.range(self._rounds), matrix
            )
            place += tf.cast(0.0 * tf.reduce_sum(wasted), tf.int64)
        rest = (1.0 - self.confidence) / 9.0
        windows = tf.one_hot(place % 10, 10) * (self.confidence - rest) + rest
        names = tf.tile(tf.constant(GENRES)[tf.newaxis], [tf.shape(audio)[0], 1])
        return {
            "probabilities": tf.ensure_shape(windows[:, 0], [None, 10]),
            "genres": tf.ensure_shape(names, [None, 10]),
            "window_probabilities": tf.ensure_shape(windows, [None, None, 10]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        def of_one(example: tf.Tensor) -> tf.Tensor:
            parsed = tf.io.parse_single_example(
                example, {"audio": tf.io.FixedLenFeature([], tf.string)}
            )
            samples = tf.io.decode_raw(parsed["audio"], tf.int16)
            return self._classify(tf.cast(samples, tf.float32)[tf.newaxis] / 32768.0)[
                "probabilities"
            ][0]

        spec = tf.TensorSpec([10], tf.float32)
        probabilities = tf.map_fn(of_one, examples, fn_output_signature=spec)
        names = tf.tile(tf.constant(GENRES)[tf.newaxis], [tf.shape(examples)[0], 1])
        return {"probabilities": probabilities, "genres": names}

    def save(self, folder: Path, genres: tuple[str, ...] = GENRES) -> None:
        """Writes the SavedModel with genres and warmup, as a release has them."""
        signatures = {
            name: getattr(self, name)
            for name in ("serving_default", "classify_audio", "classify_wav")
        }
        tf.saved_model.save(self, str(folder), signatures=signatures)
        (folder / "assets").mkdir(exist_ok=True)
        (folder / "assets" / "genres.txt").write_text("".join(f"{one}\n" for one in genres))
        write_warmup(folder, signatures)


def pcm(genre: int, number: int) -> bytes:
    """A tone within the genre's band; the samples' lowest four bits say the genre, too."""
    hertz = (genre + (0.2, 0.35, 0.5, 0.8)[number]) * BAND_HZ
    time = np.arange(int(SECONDS * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz
    level = (0.1, 0.3, 0.3, 0.5)[number]
    samples = np.round(level * 32767 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
    return ((samples & ~np.int16(15)) | np.int16(genre)).astype("<i2").tobytes()


@dataclasses.dataclass(frozen=True)
class Track:
    """A test track as its raw example has it."""

    track_id: str
    genre: str
    content: str
    record: bytes


def tracks() -> list[Track]:
    """Four tracks a genre."""
    return [
        Track(
            name := f"{genre}.{number:05d}",
            genre,
            content := f"{index:02d}{number:02d}" * 8,
            serialise(
                {
                    "track_id": name.encode(),
                    "genre": genre.encode(),
                    "audio": pcm(index, number),
                    "content_hash": content.encode(),
                }
            ),
        )
        for index, genre in enumerate(GENRES)
        for number in range(PER_GENRE)
    ]


def artifact(kind: type, folder: Path):
    made = kind()
    made.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def write_examples(folder: Path):
    """The raw examples' artifact: the tracks are its test split."""
    examples = artifact(standard_artifacts.Examples, folder)
    examples.split_names = json.dumps(["test"])
    raw_examples.write_records(
        f"{folder}/Split-test/data_tfrecord-00000-of-00001", [one.record for one in tracks()]
    )
    return examples


def ingest_report(folder: Path):
    report = artifact(Report, folder)
    for split, count in (("train", 80), ("validation", 20), ("test", len(GENRES) * PER_GENRE)):
        report.set_int_custom_property(split, count)
    report.set_int_custom_property("tracks", 140)
    report.set_int_custom_property("rejected", 0)
    content = {"pairs": 700, "leaks": 600, "near_duplicates": NEAR_DUPLICATES}
    (folder / "report.json").write_text(json.dumps(content))
    (folder / "index.html").write_text("<h1>Ingest</h1>")
    return report


def sound(track: Track) -> np.ndarray:
    return codec.from_pcm16(raw_examples.RawTrack.parse(track.record).audio)
