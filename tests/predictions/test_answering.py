"""A model is asked in bounded batches; a track without an answer stays and says why."""

import dataclasses
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.audio import codec
from components.audio.features import feature
from components.common import answers, progress, raw_examples
from components.common.artifacts import Report
from components.common.errors import UserError
from components.common.raw_examples import RawTrack
from components.gtzan.genres import GENRES
from components.predictions import answering, executor
from components.predictions.answering import Outputs, ask_about
from components.predictions.classifier import Classifier
from components.trainer.release.genre_graph import Branch, GenreGraph
from tests.conftest import chord

# 30 s is a whole clip; 64 s are three clips by the last one's 4 s; two tracks share a length.
SECONDS = (3.0, 30.0, 12.5, 64.0, 3.0)


@pytest.fixture(scope="module")
def tracks(settings) -> list[RawTrack]:
    return [
        RawTrack(
            f"{GENRES[number]}.{number:05d}",
            GENRES[number],
            codec.to_pcm16(chord(number, settings, seconds)),
            content=f"{number:032x}",
        )
        for number, seconds in enumerate(SECONDS)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory, settings) -> Path:
    """A SavedModel with the served graph around a tiny network with random weights."""
    keras.utils.set_random_seed(0)
    reads = feature("log_mel", settings)
    network = keras.Sequential(
        [
            keras.Input(reads.window_shape),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Rescaling(0.01),
            keras.layers.Dense(len(GENRES), activation="softmax"),
        ]
    )
    graph = GenreGraph([Branch(network, reads)], settings=settings, genres=GENRES, statistics={})
    archive = keras.export.ExportArchive()
    archive.track(network)
    sound = tf.TensorSpec([None, None], tf.float32, name="audio")
    archive.add_endpoint("classify_audio", graph.from_sound, [sound])
    folder = tmp_path_factory.mktemp("model")
    archive.write_out(str(folder / "Format-Serving"), verbose=False)
    (folder / "Format-Serving" / "assets" / "genres.txt").write_text("\n".join(GENRES) + "\n")
    return folder


@pytest.fixture(scope="module")
def classifier(model) -> Classifier:
    return Classifier(str(model / "Format-Serving"))


@pytest.fixture(scope="module")
def asked(tracks, classifier):
    return ask_about(reversed(tracks), classifier, classifier.genres)


def test_each_track_is_answered_as_alone(asked, tracks, classifier):
    assert asked.failures == {}
    result = asked.answers
    assert result.track_ids == tuple(sorted(track.track_id for track in tracks))
    windows = {3.0: 1, 12.5: 4, 30.0: 10, 64.0: 21}
    for track, seconds in zip(tracks, SECONDS, strict=True):
        row = result.track_ids.index(track.track_id)
        alone = classifier(track.samples[np.newaxis])
        np.testing.assert_allclose(result.probabilities[row], alone.probabilities[0], atol=1e-6)
        assert result.counts[row].sum() == windows[seconds]
        assert result.counts[row, : windows[seconds]].all()
        mean = result.window_probabilities[row][result.counts[row]].mean(axis=0)
        np.testing.assert_allclose(mean, result.probabilities[row], atol=1e-6)
        assert result.labels[row] == GENRES.index(track.genre)
        assert result.contents[row] == track.content


def test_a_call_has_sounds_of_one_length_and_a_bounded_number_of_samples(monkeypatch):
    monkeypatch.setattr(answering, "BATCH_SAMPLES", 12)
    asked = []

    def ask(batch):
        asked.append(batch.shape)
        return Outputs(np.full((len(batch), 10), 0.1), np.full((len(batch), 1, 10), 0.1))

    lengths = (4, 4, 4, 4, 6, 25, 4)
    tracks = [
        RawTrack(str(number), GENRES[0], bytes(2 * length)) for number, length in enumerate(lengths)
    ]
    result = ask_about(iter(tracks), ask, GENRES)
    assert asked == [(3, 4), (1, 4), (1, 6), (1, 25), (1, 4)]
    assert result.answers.answered.all() and len(result.answers.track_ids) == len(lengths)


def test_a_track_that_cannot_be_answered_costs_no_other(tracks, classifier):
    short = dataclasses.replace(tracks[1], audio=tracks[1].audio[:20_000])
    failed = dataclasses.replace(tracks[2], audio=b"", failure="mp3_64k: the encoder broke")
    told = []
    result = ask_about(
        [tracks[0], short, failed, tracks[4]], classifier, classifier.genres, advance=told.append
    )
    assert sum(told) == 4
    assert result.failures[failed.track_id] == "mp3_64k: the encoder broke"
    assert re.match(r"the model refuses it: \w+", result.failures[short.track_id])
    assert "Graph execution error" not in result.failures[short.track_id]
    by_id = dict(zip(result.answers.track_ids, result.answers.answered, strict=True))
    assert by_id == {
        tracks[0].track_id: True,
        short.track_id: False,
        failed.track_id: False,
        tracks[4].track_id: True,
    }
    assert np.isnan(result.answers.probabilities[~result.answers.answered]).all()
    assert not result.answers.counts[~result.answers.answered].any()


def test_a_batch_that_is_refused_is_asked_again_track_by_track(tracks):
    """As where the memory does not suffice for a whole batch."""

    def ask(batch):
        if len(batch) > 1:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return Outputs(np.full((1, 10), 0.1, np.float32), np.full((1, 1, 10), 0.1, np.float32))

    result = ask_about([tracks[0], tracks[4]], ask, GENRES)
    assert result.failures == {} and result.answers.answered.all()


def test_a_model_that_diverged_gives_no_answers_and_no_error(tracks):
    def ask(batch):
        return Outputs(
            np.full((len(batch), 10), np.nan, np.float32),
            np.full((len(batch), 1, 10), np.nan, np.float32),
        )

    result = ask_about(tracks, ask, GENRES)
    assert set(result.failures.values()) == {"the model's answer is not a number"}
    assert len(result.failures) == len(tracks) and not result.answers.answered.any()


def test_a_genre_that_the_model_does_not_know_is_named(tracks, classifier):
    other = dataclasses.replace(tracks[0], genre="Blasmusik")
    with pytest.raises(ValueError, match="Received: 'Blasmusik'"):
        ask_about([other], classifier, classifier.genres)


def artifact(kind, folder):
    made = kind()
    made.uri = str(folder)
    return made


def test_the_node_writes_a_file_for_each_split(model, tracks, tmp_path):
    raw_examples.write_records(
        f"{tmp_path}/raw/Split-test/data_tfrecord-00000-of-00001",
        [track.serialise() for track in tracks],
    )
    broken = dataclasses.replace(tracks[0], audio=b"", failure="mp3_64k: the encoder broke")
    raw_examples.write_records(
        f"{tmp_path}/deformed/Split-mp3_64k/data_tfrecord-00000-of-00001",
        [track.serialise() for track in (broken, *tracks[1:])],
    )
    deformed = artifact(standard_artifacts.Examples, tmp_path / "deformed")
    deformed.split_names = artifact_utils.encode_split_names(["mp3_64k"])
    output = artifact(Report, tmp_path / "answers")
    events = []
    with progress.listening(lambda *event: events.append(event)):
        executor.Executor().Do(
            {
                "model": [artifact(standard_artifacts.Model, model)],
                "examples": [artifact(standard_artifacts.Examples, tmp_path / "raw")],
                "deformed_examples": [deformed],
            },
            {"answers": [output]},
            {},
        )
    clean, coded = (answers.read(output.uri, name) for name in ("clean", "mp3_64k"))
    assert clean.track_ids == coded.track_ids and clean.answered.all()
    assert coded.answered.sum() == len(tracks) - 1
    same = coded.answered
    np.testing.assert_allclose(clean.probabilities[same], coded.probabilities[same], atol=1e-6)
    summary = json.loads((tmp_path / "answers" / "answers.json").read_text())
    assert summary["genres"] == list(GENRES)
    assert summary["tracks"] == {"clean": 5, "mp3_64k": 5}
    assert summary["failed"] == {"clean": {}, "mp3_64k": {broken.track_id: broken.failure}}
    assert output.get_int_custom_property("failed") == 1
    assert events[-1] == ("tracks answered", 10, 10)


def test_a_truncated_model_is_named(model, tmp_path):
    content = (model / "Format-Serving" / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        Classifier(str(tmp_path))
