"""Baseline learns from the descriptors alone, and classifies validation and test tracks."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.audio import codec, extraction
from components.audio.settings import AudioSettings
from components.baseline import executor, regression
from components.common import answers
from components.common.artifacts import Report

SETTINGS = AudioSettings(clip_seconds=6, clips_per_track=2)  # two windows a clip
KINDS = ("Blasmusik (süd)", "hiss", "clicks")  # two sines, noise, bursts
SPLITS = {"train": 3, "validation": 1, "test": 1}  # tracks of each kind
# A clip and a short one, one clip, one window.
SECONDS = (10.0, 6.0, 3.2)


def sound(kind: int, number: int) -> bytes:
    """A track's clips as 16-bit PCM; numbers differ in pitch, level and length."""
    rng = np.random.default_rng(10 * number + kind)
    time = np.arange(round(SECONDS[number % 3] * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz
    level = rng.uniform(0.1, 0.3)
    noise = rng.normal(size=len(time))
    pitch = rng.uniform(200, 400)
    samples = (
        np.sin(2 * np.pi * pitch * time) + np.sin(3 * np.pi * pitch * time) + 0.01 * noise,
        noise,
        np.exp(-20 * (time * 2 % 1.0)) * noise,
    )[kind]
    return codec.to_pcm16(level * samples)


@pytest.fixture(scope="module")
def matrices():
    """By split: kinds, descriptors [tracks, windows, columns] and windows of sound in clips."""
    kinds = {split: np.repeat(np.arange(len(KINDS)), tracks) for split, tracks in SPLITS.items()}
    pcm = [
        sound(kind, 100 * place + number)
        for place, split in enumerate(SPLITS)
        for number, kind in enumerate(kinds[split])
    ]
    in_graph = tf.function(lambda audio: extraction.extract_pcm16(["descriptors"], audio, SETTINGS))
    features, frames = in_graph(tf.constant(pcm))
    ends = np.cumsum([len(members) for members in kinds.values()])
    return {
        split: (kinds[split], values, counts)
        for split, values, counts in zip(
            SPLITS,
            np.split(features["descriptors"].numpy(), ends[:-1]),
            np.split(frames["descriptors"].numpy(), ends[:-1]),
            strict=True,
        )
    }


def write_transformed(folder, matrices, *, padding: float = 0.0):
    """Writes examples as Transform does; `padding` is put where a clip has no sound."""
    for split, (kinds, values, frames) in matrices.items():
        path = folder / f"Split-{split}" / "transformed_examples-00000-of-00001.gz"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), "GZIP") as file:
            for number, (kind, windows, counts) in enumerate(
                zip(kinds, values, frames, strict=True)
            ):
                of_sound = (np.arange(len(windows) // 2) < counts[:, np.newaxis]).reshape(-1, 1)
                example = tf.train.Example()
                feature = example.features.feature
                feature["track_id"].bytes_list.value.append(
                    f"{KINDS[kind]}.{split}{number}".encode()
                )
                feature["label"].int64_list.value.append(kind)
                feature["descriptors"].float_list.value.extend(
                    np.where(of_sound, windows, padding).ravel()
                )
                feature["descriptors_frames"].int64_list.value.extend(counts)
                file.write(example.SerializeToString())
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    return examples


def run(examples, folder):
    output = Report()
    output.uri = str(folder)
    executor.Executor().Do({"transformed_examples": [examples]}, {"answers": [output]}, {})
    return {name: answers.read(output.uri, name) for name in ("clean", "validation")}


@pytest.fixture(scope="module")
def world(matrices, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baseline")
    return folder, run(write_transformed(folder / "transformed", matrices), folder / "answers")


def test_it_tells_sounds_apart_that_it_was_not_trained_on(world):
    folder, written = world
    for name, tracks in (("clean", 3), ("validation", 3)):
        result = written[name]
        assert len(result.track_ids) == tracks and result.probabilities.shape == (tracks, 3)
        np.testing.assert_array_equal(result.predictions, result.labels)
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1.0, atol=1e-5)
        assert result.window_probabilities.shape == (tracks, 0, 3)
    assert "Blasmusik (süd).test0" in written["clean"].track_ids
    summary = json.loads((folder / "answers" / "baseline.json").read_text())
    assert summary["tracks"] == {"train": 9, "validation": 3, "test": 3}


def test_rows_beyond_the_sound_do_not_count(world, matrices, tmp_path):
    assert any((frames[:, 1] == 0).any() for _, _, frames in matrices.values())
    padded = write_transformed(tmp_path / "transformed", matrices, padding=1e6)
    again = run(padded, tmp_path / "answers")
    for name, result in world[1].items():
        np.testing.assert_array_equal(again[name].probabilities, result.probabilities)


def test_another_run_gives_the_same_bytes(world, tmp_path):
    folder, _ = world
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "transformed")
    run(examples, tmp_path)
    for name in ("clean.npz", "validation.npz", "baseline.json"):
        assert (tmp_path / name).read_bytes() == (folder / "answers" / name).read_bytes()


def test_a_track_is_the_mean_and_deviation_of_its_windows_of_sound():
    windows = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0], [99.0, 99.0]], np.float32)
    row = regression.describe(windows, np.array([2, 1]))
    np.testing.assert_allclose(row, [3.0, 20.0, np.std([1, 3, 5]), np.std([10, 10, 40])])
    with pytest.raises(ValueError, match="no window of sound"):
        regression.describe(windows, np.array([0, 0]))


def test_a_genre_without_a_training_track_has_probability_zero():
    rng = np.random.default_rng(0)
    labels = np.array([0, 2] * 5)
    training = regression.Descriptions(
        tuple("abcdefghij"), labels, rng.normal(size=(10, 3)) + 5 * labels[:, np.newaxis]
    )
    result = regression.probabilities(regression.fit(training), training.rows, 4)
    assert result.shape == (10, 4) and not result[:, [1, 3]].any()
    np.testing.assert_array_equal(result.argmax(axis=1), labels)


def test_examples_without_descriptors_are_named(matrices, tmp_path):
    examples = write_transformed(tmp_path / "transformed", matrices)
    kinds, values, frames = matrices["test"]
    other = tmp_path / "other"
    write_transformed(other, {"test": (kinds, values[..., :100], frames)})
    with pytest.raises(ValueError, match="split test holds no descriptors of 209 columns"):
        executor.read(str(other), "test")
    with pytest.raises(ValueError, match="no examples"):
        executor.read(examples.uri, "other")
