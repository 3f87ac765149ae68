"""Whom an ensemble consists of: greedy selection, and the guard against luck."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.common.copies import distinct_ids
from components.trainer.release import membership
from components.trainer.release.genre_graph import Branch, GenreGraph

GENRES = 5


def answers(labels, sureness, seed):
    """Probabilities that lean to the label by `sureness`, with noise of the model's own."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), GENRES))
    logits[np.arange(len(labels)), labels] += sureness
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def stacked(tracks, *sureness):
    labels = np.arange(tracks) % GENRES
    members = [answers(labels, value, seed) for seed, value in enumerate(sureness)]
    return np.stack(members), labels


def choose(probabilities, labels):
    """Chooses by tracks without copies."""
    return membership.choose(probabilities, labels, [str(track) for track in range(len(labels))])


def loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_a_member_that_knows_nothing_is_left_out():
    probabilities, labels = stacked(200, 2.0, 0.0, 2.0)
    chosen = choose(probabilities, labels)
    assert chosen.weights[1] == 0.0
    assert chosen.weights.sum() == pytest.approx(1.0)
    assert 0.3 < chosen.weights[0] < 0.7  # both of the others, as they err on different tracks
    sentence = chosen.as_sentence(["cnn", "lstm", "crnn"])
    assert sentence.endswith("without lstm (chosen on 200 validation tracks)")
    mixed = np.einsum("mtg,m->tg", probabilities, chosen.weights)
    assert loss(mixed, labels) < loss(probabilities.mean(axis=0), labels)


def test_the_fewer_tracks_the_nearer_to_equal_weights():
    one, few, many = (choose(*stacked(tracks, 2.0, 0.5)).weights[0] for tracks in (1, 11, 200))
    assert 0.5 <= one < 0.8 and one < few < many


def test_members_that_are_equally_good_all_stay():
    labels = np.arange(60) % GENRES
    for draw in range(20):
        members = np.stack([answers(labels, 1.5, 100 * draw + member) for member in range(4)])
        assert choose(members, labels).weights.max() < 0.6


def test_a_track_s_own_label_has_no_say_in_the_weights_that_it_is_validated_with():
    probabilities, labels = stacked(200, 2.0, 0.0, 2.0)
    chosen = choose(probabilities, labels)
    changed = labels.copy()
    changed[7] = (changed[7] + 1) % GENRES
    again = choose(probabilities, changed)
    np.testing.assert_array_equal(again.weights_without[7], chosen.weights_without[7])
    np.testing.assert_allclose(chosen.weights_without.sum(axis=1), 1.0)


@pytest.mark.parametrize("tracks", [11, 40, 200])
def test_a_member_whose_training_diverged_counts_for_nothing(tracks):
    probabilities, labels = stacked(tracks, 2.0, 2.0, 0.0)
    without = choose(probabilities[[0, 2]], labels)
    probabilities[1] = np.nan
    chosen = choose(probabilities, labels)
    np.testing.assert_array_equal(chosen.weights[[0, 2]], without.weights)
    np.testing.assert_array_equal(chosen.weights_without[:, [0, 2]], without.weights_without)
    assert chosen.weights[1] == 0.0 and chosen.weights.sum() == pytest.approx(1.0)
    sentence = chosen.as_sentence(["cnn", "lstm", "crnn"])
    assert "lstm" in sentence.partition("without ")[2].partition(" (")[0]
    assert sentence.endswith("; the answers of lstm are no numbers)")


def test_a_single_answer_without_numbers_is_enough():
    probabilities, labels = stacked(40, 2.0, 2.0)
    probabilities[0, 7, 3] = np.inf
    np.testing.assert_array_equal(choose(probabilities, labels).weights, [0.0, 1.0])


def test_if_every_training_diverged_the_ensemble_has_no_numbers_either():
    probabilities, labels = stacked(40, 2.0, 2.0)
    chosen = choose(np.full_like(probabilities, np.nan), labels)
    np.testing.assert_array_equal(chosen.weights, [0.5, 0.5])
    assert chosen.as_sentence(["cnn", "ann"]).endswith("the answers of cnn, ann are no numbers)")


def test_the_graph_weighs_its_branches():
    settings = AudioSettings(clip_seconds=4)
    reads = feature("mfcc", settings)

    def always(*probabilities):
        window = keras.Input(reads.window_shape)
        bias = keras.initializers.Constant(np.log(probabilities))
        x = keras.layers.Flatten()(window)
        x = keras.layers.Dense(2, "softmax", kernel_initializer="zeros", bias_initializer=bias)(x)
        return keras.Model(window, x)

    graph = GenreGraph(
        [Branch(always(0.9, 0.1), reads, 0.75), Branch(always(0.1, 0.9), reads, 0.25)],
        settings=settings,
        genres=("a", "b"),
        statistics={},
    )
    outputs = graph.from_features(
        {"mfcc": tf.zeros([1, *reads.clip_shape])},
        {"mfcc": tf.constant([[reads.frames_per_clip]], tf.int64)},
    )
    np.testing.assert_allclose(outputs["probabilities"], [[0.7, 0.3]], atol=1e-6)


def test_a_track_and_its_copy_are_one_track_and_in_one_fold():
    probabilities, labels = stacked(20, 2.0, 0.0, 2.0)
    doubled = np.concatenate([probabilities, probabilities], axis=1)
    ids = distinct_ids([str(track) for track in range(20)] * 2)
    chosen = membership.choose(doubled, np.tile(labels, 2), ids)
    np.testing.assert_allclose(chosen.weights, choose(probabilities, labels).weights)
    np.testing.assert_array_equal(chosen.weights_without[:20], chosen.weights_without[20:])
