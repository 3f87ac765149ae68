"""TFMA's figures on a real release equal scikit-learn's, whole and by slice."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn import metrics

from components.common import bands, evaluator_figures
from components.evaluator.judgement import eval_config
from components.gtzan.genres import GENRES
from tests.conftest import serialise


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, release, serialised_examples):
    """A TFMA evaluation of the release on the raw examples, with thresholds in between."""
    folder = tmp_path_factory.mktemp("evaluation")
    records = folder / "examples.tfrecord"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for example in serialised_examples:
            writer.write(example)
    config = eval_config()
    tfma.run_model_analysis(
        eval_shared_model=tfma.default_eval_shared_model(str(release), eval_config=config),
        eval_config=config,
        data_location=str(records),
        output_path=str(folder / "result"),
    )
    return str(folder / "result")


@pytest.fixture(scope="module")
def predicted(release, serialised_examples):
    signature = tf.saved_model.load(str(release)).signatures["serving_default"]
    return signature(examples=tf.constant(serialised_examples))["probabilities"].numpy().argmax(1)


def test_overall_figures_are_those_of_the_most_probable_genre(evaluation, predicted):
    actual = np.arange(4)
    figures = evaluator_figures.figures(evaluation)
    assert figures["example_count"] == 4
    assert figures["sparse_categorical_accuracy"] == pytest.approx(
        metrics.accuracy_score(actual, predicted)
    )


def test_the_confusion_matrix_is_scikit_learn_s(evaluation, predicted):
    matrix = evaluator_figures.confusion_matrix(evaluation, len(GENRES))
    np.testing.assert_array_equal(
        matrix, metrics.confusion_matrix(np.arange(4), predicted, labels=range(10))
    )


def test_tracks_are_sliced_by_loudness_bandwidth_and_rate(evaluation, raw_examples):
    """In the released graph the bands have the names that they have in Python."""
    rows = {(row.slice, row.value): row.tracks for row in evaluator_figures.slices(evaluation)}
    expected = collections.Counter(
        pair
        for example in raw_examples
        for pair in bands.of_track(
            rms_db=example["rms_db"],
            bandwidth_hz=example["bandwidth_hz"],
            source_sample_rate_hz=example["source_sample_rate_hz"],
        ).items()
    )
    assert {key: count for key, count in rows.items() if key[0] != "genre"} == expected


def test_the_graph_s_bands_are_python_s_at_and_beside_every_edge(release, raw_examples):
    labels = tf.saved_model.load(str(release)).signatures["labels"]
    edges = [*((edge, 0.0) for edge in bands.LOUDNESS.edges)]
    edges += [(0.0, edge) for edge in bands.BANDWIDTH.edges]
    examples = [
        {
            **raw_examples[0],
            "rms_db": float(np.float32(loudness + step)),
            "bandwidth_hz": float(np.float32(bandwidth + step)),
            "source_sample_rate_hz": 8000,
        }
        for loudness, bandwidth in edges
        for step in (-0.01, 0.0, 0.01)
    ]
    named = labels(examples=tf.constant([serialise(example) for example in examples]))
    for index, example in enumerate(examples):
        of_track = bands.of_track(
            rms_db=example["rms_db"],
            bandwidth_hz=example["bandwidth_hz"],
            source_sample_rate_hz=8000,
        )
        assert {name: named[name][index].numpy().decode() for name in of_track} == of_track
