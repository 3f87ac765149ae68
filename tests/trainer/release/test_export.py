"""The released SavedModel: both loaders, every signature, the features that it was trained on."""

import contextlib
import dataclasses
import io
import shutil

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.audio import codec
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG
from components.trainer.models import build
from components.trainer.release import model_run
from components.trainer.release.export import write_release
from components.trainer.release.genre_graph import Branch
from components.trainer.release.warmup import WARMUP_FILE
from components.trainer.settings import NO_WEIGHTS, ModelSettings
from components.trainer.training.loop import train
from docs import reference_pages
from tests.conftest import chord, serialise
from tests.trainer.conftest import GENRE_NAMES, SHORT, coloured, described, save_body, tiny


@pytest.fixture(scope="module")
def eager(release):
    return tf.saved_model.load(str(release)).signatures


@pytest.fixture(scope="module")
def session_run(release):
    """Calls a signature in TF Serving's loader."""
    with in_session(release) as run:
        yield run


@contextlib.contextmanager
def in_session(folder):
    """What calls a signature in TF Serving's loader: a TF1 session on the meta graph."""
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

    def run(signature, **inputs):
        definition = meta_graph.signature_def[signature]
        return session.run(
            {key: info.name for key, info in definition.outputs.items()},
            {definition.inputs[key].name: value for key, value in inputs.items()},
        )

    yield run
    session.close()


@pytest.mark.parametrize("seconds", [4, 30, 75])
def test_both_loaders_classify_sound_of_any_length_equally(eager, session_run, settings, seconds):
    audio = chord(1, settings, seconds)[np.newaxis]
    here = eager["classify_audio"](audio=tf.constant(audio))
    there = session_run("classify_audio", audio=audio)
    windows = audio.shape[1] // settings.hop_length // settings.window_frames
    assert here["window_probabilities"].shape == (1, windows, len(GENRES))
    np.testing.assert_allclose(here["probabilities"].numpy().sum(), 1.0, atol=1e-5)
    np.testing.assert_allclose(
        here["probabilities"], here["window_probabilities"].numpy().mean(axis=1), atol=1e-6
    )
    for name in ("probabilities", "window_probabilities"):
        np.testing.assert_allclose(here[name], there[name], atol=1e-5)


def test_examples_sound_and_wav_give_the_same_answer(
    eager, session_run, clips, serialised_examples, settings
):
    by_example = eager["serving_default"](examples=tf.constant(serialised_examples))
    by_sound = eager["classify_audio"](audio=tf.constant(clips))
    wav = [codec.encode_wav(clip, settings.sample_rate_hz) for clip in clips]
    by_wav = eager["classify_wav"](wav=tf.constant(wav))
    in_session = session_run("serving_default", examples=serialised_examples)
    for other in (by_sound, by_wav, in_session):
        np.testing.assert_allclose(by_example["probabilities"], other["probabilities"], atol=1e-4)
    assert [name.decode() for name in by_example["genres"].numpy()[3]] == list(GENRES)


def test_wav_files_of_different_lengths_do_not_change_each_other(eager, settings):
    sounds = [chord(5, settings, 4), chord(6, settings, 13)]
    wav = [codec.encode_wav(sound, settings.sample_rate_hz) for sound in sounds]
    batched = eager["classify_wav"](wav=tf.constant(wav))
    for row, data in enumerate(wav):
        single = eager["classify_wav"](wav=tf.constant([data]))
        np.testing.assert_allclose(
            batched["probabilities"][row], single["probabilities"][0], atol=1e-5
        )
    assert not batched["window_probabilities"][0, 1:].numpy().any()


@pytest.mark.parametrize(
    "rate",
    [
        8_000,
        11_025,
        16_000,
        22_050,
        24_000,
        32_000,
        44_100,
        48_000,
        88_200,
        96_000,
        176_400,
        192_000,
    ],
)
def test_sound_of_any_rate_and_format_has_the_answer_of_soxrs_sound(session_run, settings, rate):
    music = chord(7, dataclasses.replace(settings, sample_rate_hz=rate), 4)
    channels = np.stack([music, 0.5 * music[::-1]], axis=1)
    for subtype, sound in (("PCM_16", music), ("PCM_24", channels), ("FLOAT", channels)):
        file = io.BytesIO()
        soundfile.write(file, sound, rate, subtype, format="WAVEX")
        decoded = codec.decode(
            file.getvalue(), name="a.wav", sample_rate_hz=settings.sample_rate_hz
        ).samples
        expected = session_run("classify_audio", audio=decoded[np.newaxis])
        file.seek(0)
        mono = soundfile.read(file, dtype="float32", always_2d=True)[0].mean(axis=1)
        for answer in (
            session_run("classify_wav", wav=[file.getvalue()]),
            session_run("classify_audio_at_rate", audio=[mono], sample_rate_hz=[rate]),
        ):
            for name in ("probabilities", "window_probabilities"):
                np.testing.assert_allclose(answer[name], expected[name], atol=1e-3)


def test_served_features_are_the_transformed_ones(session_run, transformed, serialised_examples):
    served = session_run("transform_features", examples=serialised_examples)
    _, rows = transformed
    order = np.argsort(served["track_id"])
    for name in ("log_mel", "mfcc", "descriptors", "music_mel", "waveform", "label"):
        expected = np.stack([row[name] for row in rows])
        np.testing.assert_allclose(served[name][order], expected, atol=1e-4)


def at_rates(*rates):
    return {"audio": np.ones([1, 70_000], np.float32), "sample_rate_hz": np.array(rates, np.int32)}


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("classify_audio", {"audio": np.zeros([1, 1000], np.float32)}, "too short"),
        ("classify_audio", {"audio": np.zeros([1, 0], np.float32)}, "too short"),
        ("classify_audio", {"audio": np.zeros([0, 70_000], np.float32)}, "audio is empty: a batch"),
        ("classify_wav", {"wav": np.array([], object)}, "wav is empty: a batch"),
        ("serving_default", {"examples": np.array([], object)}, "examples is empty: a batch"),
        ("classify_audio", {"audio": np.full([1, 70_000], np.nan, np.float32)}, "NaN"),
        (
            "classify_audio",
            {"audio": np.zeros([1, 70_000], np.float32)},
            "silent: no clip of it reaches -80",
        ),
        ("classify_wav", {"wav": [codec.encode_wav(np.zeros(70_000), 22_050)]}, "audio is silent"),
        ("classify_wav", {"wav": [b"not a wav"]}, "no WAV file"),
        (
            "classify_wav",
            {"wav": [codec.encode_wav(np.zeros(70_000), 7_000)]},
            "from 8000 to .*7000",
        ),
        ("classify_wav", {"wav": [codec.encode_wav(np.zeros(70_000), 44_099)]}, "of 50 Hz.*44099"),
        ("classify_audio_at_rate", at_rates(200_000), "from 8000 to 192000 Hz.*200000"),
        ("classify_audio_at_rate", at_rates(0), "from 8000 to 192000 Hz.*0"),
        ("classify_audio_at_rate", at_rates(), "each sound needs a sample_rate_hz.*0"),
        (
            "classify_audio_at_rate",
            at_rates(48_000, 48_000),
            "each sound needs a sample_rate_hz.*2",
        ),
        ("classify_audio_at_rate", at_rates(48_000), "too short"),
        ("serving_default", {"examples": [b"not an example"]}, "parse"),
    ],
)
def test_bad_input_is_an_invalid_argument(session_run, signature, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session_run(signature, **inputs)


def test_an_example_of_silence_is_refused(session_run, raw_examples):
    silent = {**raw_examples[0], "audio": bytes(len(raw_examples[0]["audio"]))}
    with pytest.raises(tf.errors.InvalidArgumentError, match="too short or silent"):
        session_run("serving_default", examples=[serialise(silent)])


def test_a_silent_clip_of_a_song_does_not_count(session_run, settings):
    sound, silence = chord(3, settings), np.zeros(settings.clip_samples, np.float32)
    alone = session_run("classify_audio", audio=sound[np.newaxis])
    song = np.concatenate([silence, sound, silence])
    wav = codec.encode_wav(song, settings.sample_rate_hz)
    windows = alone["window_probabilities"].shape[1]
    for answer in (
        session_run("classify_audio", audio=song[np.newaxis]),
        session_run("classify_wav", wav=[wav]),
    ):
        np.testing.assert_allclose(answer["probabilities"], alone["probabilities"], atol=1e-3)
        by_clip = answer["window_probabilities"][0].reshape(3, windows, -1)
        np.testing.assert_allclose(by_clip[1], alone["window_probabilities"][0], atol=1e-2)
        assert not by_clip[[0, 2]].any()


def test_the_graph_holds_core_operations_only(release):
    core = {name for name in dir(tf.raw_ops) if not name.startswith("_")}
    saved = saved_model_pb2.SavedModel.FromString((release / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    used = {node.op for node in graph.node}
    for function in graph.library.function:
        used |= {node.op for node in function.node_def}
    functions = {function.signature.name for function in graph.library.function}
    assert {op for op in used - functions if op not in core and not op.startswith("_")} == set()


def test_warmup_requests_cover_every_signature_and_succeed(release, session_run):
    records = tf.data.TFRecordDataset(str(release / WARMUP_FILE)).as_numpy_iterator()
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in records
    ]
    for request in requests:
        assert request.model_spec.name == "genre"
        session_run(
            request.model_spec.signature_name,
            **{key: tf.make_ndarray(value) for key, value in request.inputs.items()},
        )
    assert {request.model_spec.signature_name for request in requests} == {
        "serving_default",
        "classify_audio",
        "classify_audio_at_rate",
        "classify_wav",
        "transform_features",
    }


@pytest.mark.parametrize("name", [name for name in CATALOG if name != "embedding"])
def test_every_model_is_released_and_answers_in_both_loaders(name, tmp_path, transform_output):
    keras.utils.set_random_seed(1)
    branches = []
    for part in ("cnn", "musicnn") if name == "ensemble" else (name,):
        reads = described(part)
        size = ModelSettings(weights=NO_WEIGHTS, width=0.25)
        network = build(part, feature=reads, genre_count=len(GENRES), settings=size)
        branches.append(Branch(network, reads))
    answer_in_both_loaders(tmp_path, branches, transform_output, GENRES)


def test_a_model_trained_from_a_weights_file_is_released_and_answers(tmp_path, transform_output):
    """And rebuilt from what its training kept, as the ensemble does, it gives the same answers."""
    name = "mobilenetv2"
    reads = described(name)
    chosen = tiny(name, model=ModelSettings(weights=save_body(name, tmp_path), fine_tune_share=0.1))
    result = train(name, coloured(reads, 4), None, settings=chosen, genres=GENRE_NAMES)
    run = str(tmp_path / "model_run")
    model_run.save(run, result, model_name=name, settings=chosen)
    (tmp_path / "body.weights.h5").unlink()  # only its own weights are needed from here on
    again = model_run.load_branch(run, SHORT)
    windows = np.random.default_rng(0).normal(size=(2, *reads.window_shape)).astype(np.float32)
    np.testing.assert_allclose(again.network(windows), result.model(windows), atol=1e-6)
    answer_in_both_loaders(tmp_path / "release", [again], transform_output, GENRE_NAMES)


def answer_in_both_loaders(folder, branches, transform_output, genres):
    write_release(
        str(folder),
        branches,
        settings=SHORT,
        genres=genres,
        transforms={branch.feature.name: transform_output for branch in branches},
        serving_name="genre",
    )
    audio = chord(2, SHORT)[np.newaxis]
    eager_run = in_tensorflow(folder)
    here = eager_run("classify_audio", audio=audio)
    with in_session(folder) as run:
        there = run("classify_audio", audio=audio)
        gain_changes_nothing(run, SHORT)
    assert there["window_probabilities"].shape == (1, 1, len(genres))
    np.testing.assert_allclose(there["probabilities"].sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(here["probabilities"], there["probabilities"], atol=1e-5)
    gain_changes_nothing(eager_run, SHORT)
    keras.backend.clear_session()
    shutil.rmtree(folder)  # some take half a gigabyte


def in_tensorflow(folder):
    """What calls a signature in TensorFlow's own loader."""
    signatures = tf.saved_model.load(str(folder)).signatures

    def run(signature, **inputs):
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return {key: value.numpy() for key, value in signatures[signature](**tensors).items()}

    return run


def gain_changes_nothing(run, analysis):
    """The same clip at any level has the same answer, by every signature.

    A 16-bit copy holds noise of its own, so it is compared with the very same samples as float,
    brought back to the first level.
    """
    sound = chord(2, analysis)

    @examples(max_examples=2, deadline=None, derandomize=True)
    @given(st.floats(-40.0, 6.0))
    def holds(gain_db):
        gain = np.float32(10 ** (gain_db / 20))
        pcm = codec.to_pcm16(gain * sound)
        stored = codec.from_pcm16(pcm)
        wav = codec.encode_wav(stored, analysis.sample_rate_hz)
        example = serialise({"audio": pcm})
        for expected, *answers in (
            (run("classify_audio", audio=[sound]), run("classify_audio", audio=[gain * sound])),
            (
                run("classify_audio", audio=[stored / gain]),
                run("classify_wav", wav=[wav]),
                run("serving_default", examples=[example]),
            ),
        ):
            for answer in answers:
                np.testing.assert_allclose(
                    answer["probabilities"], expected["probabilities"], atol=1e-3
                )
                assert answer["probabilities"].argmax() == expected["probabilities"].argmax()

    holds()


def test_the_genres_travel_with_the_model_and_its_signatures_predict(release):
    assert (release / "assets" / "genres.txt").read_text().split() == list(GENRES)
    saved = saved_model_pb2.SavedModel.FromString((release / "saved_model.pb").read_bytes())
    methods = {
        signature.method_name
        for name, signature in saved.meta_graphs[0].signature_def.items()
        if name != "__saved_model_init_op"
    }
    assert methods == {"tensorflow/serving/predict"}


def test_the_reference_lists_the_signatures_of_a_release(eager):
    listed = {name: {*inputs} for name, (_, inputs) in reference_pages.signatures().items()}
    inputs = {name: {*each.structured_input_signature[1]} for name, each in eager.items()}
    assert listed == inputs
