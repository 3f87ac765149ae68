"""No skew, whatever the length: every signature answers as training's own features would.

Each model has a temperature of its own, and the ensemble another.
"""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx.components.trainer.fn_args_utils import FnArgs

from components.audio import codec
from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.common import calibration
from components.example_gen import tracks
from components.gtzan.genres import GENRES
from components.trainer import validation
from components.trainer.data.tracks import read_tracks
from components.trainer.release.export import write_release
from components.trainer.release.genre_graph import Branch
from components.trainer.trainer import run_fn
from components.trainer.training.body_outputs import window_outputs
from components.transform.preprocessing import preprocessing_fn
from serving.client.results import Answer, join_answers
from tests.trainer.conftest import tiny
from tests.trainer.release.test_export import in_session

SETTINGS = AudioSettings(clips_per_track=20)
SECONDS = (5, 30, 75, 330)  # the last is longer than the client sends at once
READ = ("log_mel", "descriptors", "music_mel")
TEMPERATURES = {"log_mel": 0.5, "descriptors": 1.8, "music_mel": 1.0, "ensemble": 0.7}
AS_IT_IS = "rock.whole"  # the 75 s, of which ingest takes two clips


def song(seconds: int) -> np.ndarray:
    """Bursts of noise over a tone that get faster and louder, and stop for a while: [samples].

    Its level, and so the floor of its decibels, its tempo and all its statistics differ from clip
    to clip, and from the whole.
    """
    rng = np.random.default_rng(seconds)
    rate = SETTINGS.sample_rate_hz
    time = np.arange(seconds * rate) / rate
    beats = np.cumsum(1.2 + 0.8 * np.sin(time / 40.0)) / rate  # 0.4 to 2 a second, in turns
    bursts = np.exp(-8.0 * (beats % 1.0)) * rng.normal(size=len(time))
    pitch = np.sin(2 * np.pi * 220.0 * time) * (0.5 + 0.5 * np.sin(time / 7.0))
    level = 10.0 ** (-1.4 + np.sin(time / 25.0 + 1.0))  # -48 to -8 dB
    quiet = 1e-4 * rng.normal(size=len(time))
    return np.clip(level * (0.3 * bursts + 0.5 * pitch) + quiet, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def songs() -> dict[int, np.ndarray]:
    """By their length, on the 16-bit grid."""
    return {seconds: codec.from_pcm16(codec.to_pcm16(song(seconds))) for seconds in SECONDS}


@pytest.fixture(scope="module")
def records(songs) -> dict[str, bytes]:
    """By track id: what ingest writes of each song, and the 75 s with all its sound."""
    made = {}
    for seconds, samples in songs.items():
        data = codec.encode_wav(samples, SETTINGS.sample_rate_hz)
        track = tracks.identify(f"rock/rock.{seconds:05d}.wav", GENRES)
        track = tracks.examine(track, data, SETTINGS)
        assert not track.fault
        made[track.track_id] = tracks.to_example(track, data, SETTINGS)
    whole = tf.train.Example.FromString(made["rock.00075"])
    whole.features.feature["track_id"].bytes_list.value[0] = AS_IT_IS.encode()
    whole.features.feature["audio"].bytes_list.value[0] = codec.to_pcm16(songs[75])
    return {**made, AS_IT_IS: whole.SerializeToString()}


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory, records, raw_schema):
    """Transform over the records: its output, and a file of its examples as Trainer reads them."""
    folder = tmp_path_factory.mktemp("transform")
    metadata = dataset_metadata.DatasetMetadata(raw_schema)
    rows = []
    for record in records.values():
        values = tf.train.Example.FromString(record).features.feature
        rows.append(
            {name: list(getattr(v, v.WhichOneof("kind")).value) for name, v in values.items()}
        )
    config = {"audio": {"clips_per_track": 20}, "features": list(READ), "genres": GENRES}
    with tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("tft"))):
        (data, _), transform_fn = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            functools.partial(preprocessing_fn, custom_config=config)
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder))
    metadata_io.write_metadata(metadata, str(folder / tft.TFTransformOutput.RAW_METADATA_DIR))
    file = folder / "examples.gz"
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for row in data:
            writer.write(encoded(row))
    return tft.TFTransformOutput(str(folder)), str(file), {row["track_id"]: row for row in data}


def encoded(row) -> bytes:
    example = tf.train.Example()
    for name, value in row.items():
        values, array = example.features.feature[name], np.asarray(value)
        if isinstance(value, bytes):
            values.bytes_list.value.append(value)
        elif array.dtype.kind == "i":
            values.int64_list.value.extend(array.ravel().tolist())
        else:
            values.float_list.value.extend(array.ravel().tolist())
    return example.SerializeToString()


@pytest.fixture(scope="module")
def branches() -> dict[str, Branch]:
    """A tiny network for each feature, with random weights that make it sensitive."""
    made = {}
    for number, name in enumerate(READ):
        described = feature(name, SETTINGS)
        loud = keras.initializers.RandomNormal(stddev=0.5, seed=number)
        layers = [keras.layers.Dense(8, activation="tanh", kernel_initializer=loud)]
        layers.append(keras.layers.GlobalAveragePooling1D())
        layers.append(
            keras.layers.Dense(len(GENRES), activation="softmax", kernel_initializer=loud)
        )
        network = keras.Sequential([keras.Input(described.window_shape), *layers])
        made[name] = Branch(network, described)
    return made


@pytest.fixture(scope="module")
def expected(trained_on, branches, records):
    """By model and track id: training's scaled answers, for counting windows and for the track."""
    transform_output, file, _ = trained_on
    answers = {}
    for name, branch in branches.items():
        split = read_tracks([file], transform_output, branch.feature)
        own = validation.in_order(
            split.track_ids,
            split.labels,
            window_outputs(branch.network, split),
            split.counting_windows,
            clips=SETTINGS.clips_per_track,
        )
        answers[name] = validation.at_temperature(own, TEMPERATURES[name])
    # Its branches are scaled already, and it must not matter.
    members = validation.shared_windows(list(answers.values()))
    own = validation.ensemble_answers(members, np.full((len(records), 3), 1 / 3))
    answers["ensemble"] = validation.at_temperature(own, TEMPERATURES["ensemble"])
    by_track = {}
    for name, answer in answers.items():
        windows = answer.window_probabilities.reshape(len(answer.labels), -1, len(GENRES))
        counts = answer.counts.reshape(len(answer.labels), -1)
        tracks_answers = answer.probabilities
        for row, track_id in enumerate(answer.track_ids):
            by_track[name, track_id] = windows[row][counts[row]], tracks_answers[row]
    return by_track


@pytest.fixture(scope="module", params=[*READ, "ensemble"])
def released(request, tmp_path_factory, branches, trained_on):
    name = request.param
    chosen = list(branches.values()) if name == "ensemble" else [branches[name]]
    folder = tmp_path_factory.mktemp("release")
    write_release(
        str(folder),
        chosen,
        settings=SETTINGS,
        genres=GENRES,
        transforms={branch.feature.name: trained_on[0] for branch in chosen},
        serving_name="genre",
        temperature=TEMPERATURES[name],
    )
    with in_session(folder) as run:
        yield name, run


@pytest.mark.parametrize("seconds", SECONDS)
def test_every_signature_answers_as_trainings_own_features_would(
    released, expected, records, songs, trained_on, seconds
):
    name, run = released
    track_id = f"rock.{seconds:05d}"
    ingested = expected[name, track_id]
    by_example = run("serving_default", examples=[records[track_id]])
    np.testing.assert_allclose(by_example["probabilities"][0], ingested[1], atol=1e-5)

    # What ingest took of it, as sound; and all of it, which is the same but for the 75 s.
    pcm = tf.train.Example.FromString(records[track_id]).features.feature["audio"].bytes_list
    for samples, (windows, mean) in (
        (codec.from_pcm16(pcm.value[0]), ingested),
        (songs[seconds], expected[name, AS_IT_IS if seconds == 75 else track_id]),
    ):
        wav = codec.encode_wav(samples, SETTINGS.sample_rate_hz)
        for answer in (
            run("classify_audio", audio=samples[np.newaxis]),
            run("classify_wav", wav=[wav]),
        ):
            np.testing.assert_allclose(answer["window_probabilities"][0], windows, atol=1e-5)
            np.testing.assert_allclose(answer["probabilities"][0], mean, atol=1e-5)

    served = run("transform_features", examples=[records[track_id]])
    row = trained_on[2][track_id.encode()]
    for key in served:
        if key != "track_id":
            np.testing.assert_allclose(served[key][0], row[key], atol=1e-4, err_msg=key)


def test_a_clip_of_every_length_counts_its_own_windows(expected):
    counts = {
        track_id: len(windows) for (name, track_id), (windows, _) in expected.items()
        if name == "log_mel"
    }  # fmt: skip
    assert counts == {
        "rock.00005": 1,
        "rock.00030": 10,
        "rock.00075": 20,
        AS_IT_IS: 25,
        "rock.00330": 110,
    }


def test_files_of_different_lengths_and_records_in_one_batch_do_not_change_each_other(
    released, expected, records, songs
):
    name, run = released
    order = ["rock.00075", "rock.00005", "rock.00030"]
    batched = run("serving_default", examples=[records[track_id] for track_id in order])
    for row, track_id in enumerate(order):
        np.testing.assert_allclose(
            batched["probabilities"][row], expected[name, track_id][1], atol=1e-5
        )
    wav = [codec.encode_wav(songs[seconds], SETTINGS.sample_rate_hz) for seconds in (5, 75)]
    answers = run("classify_wav", wav=wav)
    for row, track_id in enumerate(("rock.00005", AS_IT_IS)):
        windows, mean = expected[name, track_id]
        np.testing.assert_allclose(answers["probabilities"][row], mean, atol=1e-5)
        np.testing.assert_allclose(
            answers["window_probabilities"][row, : len(windows)], windows, atol=1e-5
        )
        assert not answers["window_probabilities"][row, len(windows) :].any()


def test_a_song_in_parts_as_the_client_sends_it_is_the_song_at_once(released, expected, songs):
    name, run = released
    samples, part = songs[330], 10 * SETTINGS.clip_samples
    answers = []
    for start in range(0, len(samples), part):
        answer = run("classify_audio", audio=samples[np.newaxis, start : start + part])
        np.testing.assert_allclose(answer["temperature"], [TEMPERATURES[name]])
        answers.append(Answer("genre", 1, {key: value[0] for key, value in answer.items()}))
    windows, whole = expected[name, "rock.00330"]
    lengths = [part] * len(answers)
    prediction = join_answers("song", lengths, answers, SETTINGS, call_seconds=0)
    np.testing.assert_allclose(prediction.window_probabilities, windows, atol=1e-5)
    np.testing.assert_allclose(prediction.probabilities, whole, atol=1e-5)
    if name != "music_mel":  # whose temperature is 1
        assert np.abs(windows.mean(axis=0) - whole).max() > 1e-3


def test_a_rest_under_a_window_is_left_out(released, songs):
    _, run = released
    short = songs[330][: 62 * SETTINGS.sample_rate_hz][np.newaxis]
    whole = short[:, : 60 * SETTINGS.sample_rate_hz]
    with_rest, without = (run("classify_audio", audio=sound) for sound in (short, whole))
    np.testing.assert_array_equal(
        with_rest["window_probabilities"], without["window_probabilities"]
    )


def test_a_record_under_a_window_is_refused(released, records):
    example = tf.train.Example.FromString(records["rock.00005"])
    example.features.feature["audio"].bytes_list.value[0] = bytes(2000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too short"):
        released[1]("serving_default", examples=[example.SerializeToString()])


def relabelled(file: str, copies: int, folder) -> str:
    """A file with `copies` of every example, of many genres: enough to fit a temperature to."""
    path = folder / "relabelled.gz"
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    rows = list(tf.data.TFRecordDataset(file, compression_type="GZIP").as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for number, row in enumerate(copies * rows):
            example = tf.train.Example.FromString(row)
            track_id = example.features.feature["track_id"].bytes_list.value
            track_id[0] += f" {number:02d}".encode()
            example.features.feature["label"].int64_list.value[0] = number % len(GENRES)
            writer.write(example.SerializeToString())
    return str(path)


def test_the_trainer_keeps_what_the_release_answers(tmp_path, trained_on, records):
    """And it reads tracks of every length, as one split."""
    transform_output, file, _ = trained_on
    run_fn(
        FnArgs(
            train_files=[file],
            eval_files=[relabelled(file, 3, tmp_path)],
            transform_output=transform_output.transform_savedmodel_dir.rpartition("/")[0],
            model_run_dir=str(tmp_path / "model_run"),
            serving_model_dir=str(tmp_path / "model"),
            custom_config={
                "model": "ann",
                "audio": dataclasses.asdict(SETTINGS),
                "genres": list(GENRES),
                "training": dataclasses.asdict(tiny("ann", epochs=2)),
                "serving_name": "genre",
            },
        )
    )
    answers = validation.read(str(tmp_path / "model_run"))
    fitted = calibration.read(str(tmp_path / "model_run"))
    assert fitted.tracks == len(answers.track_ids) == 3 * len(records)
    assert fitted.temperature == answers.temperature != 1.0
    with in_session(tmp_path / "model") as run:
        for row, track_id in enumerate(answers.track_ids):
            served = run("serving_default", examples=[records[track_id[:-3]]])
            np.testing.assert_allclose(
                served["probabilities"][0], answers.probabilities[row], atol=1e-5
            )
