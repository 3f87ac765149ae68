import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components.audio import codec, extraction
from components.audio.catalog import FEATURE_NAMES
from components.audio.extraction import (
    cut_windows,
    decode_pcm16,
    extract,
    extract_pcm16,
    features_of_clip,
    standardise,
)
from components.audio.features import feature
from tests.audio import signals
from tests.conftest import chord


def test_a_clip_alone_equals_the_same_clip_among_louder_ones(clips, features_of):
    batch = clips * np.array([1.0, 0.001, 0.3, 1.0], np.float32)[:, np.newaxis]
    together = features_of(batch)
    for index in range(len(batch)):
        alone = features_of(batch[index : index + 1])
        for name in FEATURE_NAMES:
            np.testing.assert_array_equal(alone[name][0], together[name][index], err_msg=name)


def test_a_batch_equals_its_clips_one_by_one(clips, features_of, settings):
    together = features_of(clips)
    for index, clip in enumerate(clips):
        directly, _ = features_of_clip(FEATURE_NAMES, tf.constant(clip), settings)
        for name in FEATURE_NAMES:
            np.testing.assert_allclose(
                directly[name], together[name][index], rtol=1e-4, atol=1e-4, err_msg=name
            )


def test_pcm_decoded_on_the_way_gives_the_same_features(clips, features_of, settings):
    encoded = tf.constant([codec.to_pcm16(clip) for clip in clips[:2]])
    expected = features_of(clips[:2])
    matrices, frames = extract_pcm16(FEATURE_NAMES, encoded, settings)
    for name, matrix in matrices.items():
        np.testing.assert_allclose(matrix, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
        assert frames[name].numpy().tolist() == [[matrix.shape[1]]] * 2


def test_decoded_pcm_is_what_ingest_wrote(clips, settings):
    np.testing.assert_array_equal(decode_pcm16(codec.to_pcm16(clips[0])), clips[0])
    short = decode_pcm16(np.array([-32768, 16384], "<i2").tobytes())
    np.testing.assert_array_equal(short, [-1.0, 0.5])


@pytest.mark.parametrize("clips_per_track", [1, 4])
def test_each_clip_of_a_record_has_the_features_of_its_own_sound(clips_per_track, settings):
    """Records of a short clip, of two and a shorter one, two and too short a rest, and six."""
    rate = settings.sample_rate_hz
    several = dataclasses.replace(settings, clips_per_track=clips_per_track)
    sounds = [
        codec.from_pcm16(codec.to_pcm16(chord(seed, settings, seconds)))
        for seed, seconds in enumerate((3.4, 11.5, 10.9, 24.0))
    ]
    encoded = tf.constant([codec.to_pcm16(sound) for sound in sounds])
    matrices, frames = extract_pcm16(FEATURE_NAMES, encoded, several)
    alone = tf.function(
        lambda sound: features_of_clip(FEATURE_NAMES, sound, settings)[0],
        input_signature=[tf.TensorSpec([None], tf.float32)],
    )
    for row, lengths in enumerate(([3.4], [4, 4, 3.5], [4, 4], [4] * 6)):
        expected = [
            alone(sounds[row][4 * rate * clip :][: int(seconds * rate)])
            for clip, seconds in enumerate(lengths[:clips_per_track])
        ]
        for name in FEATURE_NAMES:
            described = feature(name, several)
            by_clip = matrices[name][row].numpy().reshape(clips_per_track, *described.clip_shape)
            counts = [len(matrix[name]) for matrix in expected]
            assert frames[name][row].numpy().tolist() == (counts + [0] * 4)[:clips_per_track]
            for clip, count in enumerate(frames[name][row].numpy()):
                assert not by_clip[clip, count:].any()
                if count:
                    np.testing.assert_allclose(
                        by_clip[clip, :count], expected[clip][name], rtol=1e-4, atol=1e-5
                    )


def test_a_silent_clip_of_a_record_has_no_frames(settings):
    two = dataclasses.replace(settings, clips_per_track=2)
    sound = np.concatenate([np.zeros(settings.clip_samples), chord(0, settings)])
    matrices, frames = extract_pcm16(FEATURE_NAMES, tf.constant([codec.to_pcm16(sound)]), two)
    alone = extract(FEATURE_NAMES, tf.constant([chord(0, settings)]), settings)[0]
    for name in FEATURE_NAMES:
        rows = feature(name, two).frames_per_clip
        assert frames[name].numpy().tolist() == [[0, rows]]
        assert not matrices[name][0, :rows].numpy().any()
        np.testing.assert_allclose(matrices[name][0, rows:], alone[name][0], rtol=0.1, atol=0.1)


def test_features_stay_finite_at_the_edges(settings, features_of):
    edges = signals.edge_signals(settings)
    features = features_of(np.stack(list(edges.values())))
    for name, matrices in features.items():
        for label, matrix in zip(edges, matrices, strict=True):
            assert np.isfinite(matrix).all(), (name, label)


@pytest.mark.parametrize("seconds", [3, 75])
def test_any_length_from_one_window_up_has_its_frames(seconds, settings, features_of):
    samples = seconds * settings.sample_rate_hz
    features = features_of(signals.noise(settings, samples=samples)[np.newaxis])
    shapes = {name: matrix.shape for name, matrix in features.items()}
    frames = -(-samples // 512)
    assert shapes == {
        "log_mel": (1, frames, 128),
        "mfcc": (1, frames, 20),
        "descriptors": (1, samples // 65_536, feature("descriptors", settings).bins),
        "music_mel": (1, -(-samples // 353), 96),
        "waveform": (1, -(-samples // 441), 320),
    }


def test_a_clips_shapes_are_known_when_the_graph_is_built(settings):
    graph = tf.function(lambda waveform: extract(FEATURE_NAMES, waveform, settings)[0])
    outputs = graph.get_concrete_function(
        tf.TensorSpec([None, settings.clip_samples], tf.float32)
    ).structured_outputs
    for name in FEATURE_NAMES:
        assert outputs[name].shape.as_list() == [None, *feature(name, settings).clip_shape]


def test_the_start_of_a_long_sound_has_the_features_of_that_start(settings, features_of):
    # Only the last frames, which reach over the end, the peak and the loudness know what follows.
    sound = np.tile(signals.noise(settings, samples=5 * settings.sample_rate_hz), 3)
    whole = features_of(sound[np.newaxis])
    start = features_of(sound[np.newaxis, : 10 * settings.sample_rate_hz])
    for name in ("log_mel", "music_mel"):
        frames = start[name].shape[1] - 5
        np.testing.assert_allclose(
            whole[name][0, :frames], start[name][0, :frames], atol=1e-2, err_msg=name
        )


def test_compiled_by_xla_the_features_are_the_same(clips, settings, features_of):
    names = ("log_mel", "mfcc", "music_mel")
    compiled = tf.function(lambda waveform: extract(names, waveform, settings)[0], jit_compile=True)
    expected = features_of(clips[:1])
    for name, matrix in compiled(tf.constant(clips[:1])).items():
        np.testing.assert_allclose(matrix, expected[name], atol=1e-3, err_msg=name)


def test_the_graph_holds_core_operations_only(settings):
    def graph(encoded, waveform):
        return (
            extract_pcm16(FEATURE_NAMES, encoded, settings),
            extract(FEATURE_NAMES, waveform, settings),
        )

    definition = (
        tf.function(graph)
        .get_concrete_function(
            tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.float32)
        )
        .graph.as_graph_def()
    )
    operations = {node.op for node in definition.node}
    functions = {function.signature.name for function in definition.library.function}
    for function in definition.library.function:
        operations |= {node.op for node in function.node_def}
    operations -= functions
    assert "RFFT" in operations  # the list reaches into the loop's body
    # raw_ops lists TensorFlow's own operations; tensorflow-io's are not among them.
    assert {name for name in operations if not hasattr(tf.raw_ops, name)} == set()


def test_wrong_input_is_refused_by_name(settings):
    with pytest.raises(ValueError, match=r"`waveform` must be .* Received: float32 of shape"):
        extract(("mfcc",), tf.zeros([settings.clip_samples]), settings)
    with pytest.raises(ValueError, match=r"unknown feature.*Received: 'mel'"):
        extract(("mel",), tf.zeros([1, settings.clip_samples]), settings)
    with pytest.raises(ValueError, match=r"`audio` must be .* Received: string of shape"):
        extract_pcm16(("mfcc",), tf.constant([["pcm"]]), settings)


def test_standardised_columns_have_mean_zero_and_deviation_one():
    generator = np.random.default_rng(0)
    scales = np.array([1e-4, 1.0, 1e6], np.float32)
    x = (generator.normal(size=(5000, 3)) * scales + 3 * scales).astype(np.float32)
    result = standardise(x, x.mean(axis=0), x.std(axis=0)).numpy()
    np.testing.assert_allclose(result.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(result.std(axis=0), 1.0, atol=1e-3)


def test_a_column_that_never_varies_becomes_zero():
    x = tf.constant([[-100.0, 0.0], [-100.0, 0.0]])
    for deviation in (0.0, 1e-5):  # 1e-5: what rounding leaves around a mean of -100
        result = standardise(x, tf.constant([-100.0, 0.0]), tf.constant([deviation, 0.0]))
        np.testing.assert_array_equal(result, np.zeros((2, 2)))


def test_windows_lie_end_to_end_and_drop_the_remainder():
    matrix = np.arange(2 * 7 * 3, dtype=np.float32).reshape(2, 7, 3)
    known = cut_windows(tf.constant(matrix), 2).numpy()
    unknown = tf.function(
        lambda x: cut_windows(x, 2), input_signature=[tf.TensorSpec([None, None, 3])]
    )(matrix)
    assert known.shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(known.reshape(2, 6, 3), matrix[:, :6])
    np.testing.assert_array_equal(known, unknown)


def test_graphs_share_what_computes_a_clip(settings, monkeypatch):
    """Transform and an export build many graphs; each would trace hundreds of operations again."""
    traced = []

    def counting(names, waveform, settings):
        traced.append(names)
        return features_of_clip(names, waveform, settings)

    monkeypatch.setattr(extraction, "features_of_clip", counting)
    few = dataclasses.replace(settings, mel_bins=48)  # of which no other test made a function

    def of_pcm(audio):
        return extract_pcm16(["log_mel", "mfcc"], audio, few)[0]

    for _ in range(2):
        tf.function(of_pcm).get_concrete_function(tf.TensorSpec([None], tf.string))
    assert len(traced) == 1
