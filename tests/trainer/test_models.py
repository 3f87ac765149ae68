"""Every model of the catalog trains, and starts from nothing or from a file."""

import dataclasses

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from components.audio.settings import AudioSettings
from components.trainer.catalog import CATALOG
from components.trainer.models import build
from components.trainer.parts import backbones, heads
from components.trainer.settings import ModelSettings
from components.trainer.weight_sources import WeightsError
from tests.trainer.conftest import coloured, described, save_body, trained

# Without a SavedModel there is no `embedding`: test_embedding.py has some.
TRAINED = [name for name in CATALOG if name not in ("ensemble", "embedding")]
LEAST_MEL_BINS = {
    name: entry.least_mel_bins for name, entry in CATALOG.items() if entry.least_mel_bins > 1
}
APPLICATIONS = {
    "vgg16": keras.applications.VGG16,
    "efficientnetb0": keras.applications.EfficientNetB0,
}


def new(name, weights="none"):
    settings = ModelSettings(weights=weights, width=0.25)
    return build(name, feature=described(name), genre_count=4, settings=settings)


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_learns_a_step_and_answers_with_probabilities(name):
    reads = described(name)
    model = new(name)
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(2, *reads.window_shape)).astype(np.float32)
    before = [value.copy() for value in model.get_weights()]
    model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy", jit_compile=False)
    model.train_on_batch(windows, np.eye(4, dtype=np.float32)[:2])
    probabilities = model.predict_on_batch(windows)
    assert probabilities.shape == (2, 4)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    changed = [
        not np.array_equal(old, now) for old, now in zip(before, model.get_weights(), strict=True)
    ]
    assert np.mean(changed) > 0.5
    keras.backend.clear_session()


def test_a_backbone_from_scratch_soon_answers_as_it_was_trained():
    """ImageNet's slow running statistics would still be those that it started from."""
    name = "mobilenetv2"
    body = new(name).get_layer(heads.BODY)
    windows = np.random.default_rng(0).normal(size=(4, *described(name).window_shape))
    windows = tf.constant(windows, tf.float32)
    step = tf.function(lambda: body(windows, training=True))
    for _ in range(150):
        trained = step()
    answered = body(windows, training=False)
    assert np.corrcoef(np.ravel(trained), np.ravel(answered))[0, 1] > 0.9
    keras.backend.clear_session()


@pytest.mark.parametrize(("name", "normalised"), [("mobilenetv2", False), ("vgg16", True)])
def test_a_head_normalises_a_new_body_only_if_that_does_not(name, normalised):
    """By the statistics of one batch, which say little of a thousand pooled values."""
    reads = described(name)
    result = trained(name, coloured(reads, 8), model=ModelSettings(shrink=4))
    mean, variance = result.model.get_layer(heads.SCALE).get_weights()
    assert bool(mean.any()) == normalised
    assert bool((variance != 1.0).any()) == normalised
    keras.backend.clear_session()


def test_a_backbone_reads_a_smaller_picture_of_the_same_window():
    reads = described("mobilenetv2")
    settings = ModelSettings(shrink=2)
    model = build("mobilenetv2", feature=reads, genre_count=4, settings=settings)
    body = model.get_layer(heads.BODY)
    (shrunk,) = (x for x in body.layers if isinstance(x, keras.layers.AveragePooling2D))
    (network,) = (x for x in body.layers if isinstance(x, keras.Model))
    assert network.input_shape == (None, 64, 64, 3)
    window = np.random.default_rng(0).normal(size=(1, *reads.window_shape)).astype(np.float32)
    picture = keras.Model(body.input, shrunk.output)(window)
    means = window.reshape(1, 64, 2, 64, 2).mean(axis=(2, 4))  # of two frames by two bands
    np.testing.assert_allclose(picture[..., 0], means.transpose(0, 2, 1), atol=1e-6)
    keras.backend.clear_session()


@pytest.mark.parametrize("name", ["ann", "lstm", "crnn"])
def test_a_model_learns_what_tells_genres_apart(name):
    reads = described(name, AudioSettings())
    splits = coloured(reads, 8), coloured(reads, 4, seed=1)
    result = trained(name, *splits, epochs=12, windows_per_track=4, batch_size=8)
    assert max(result.history["val_track_accuracy"]) == 1.0


@pytest.mark.parametrize("name", ["cnn", "lstm", "musicnn"])
def test_an_answer_draws_on_no_random_state(name):
    """The seeds of random layers are variables, which only a step of training may read."""
    model = new(name)
    window = tf.TensorSpec([None, *described(name).window_shape])

    def read(training):
        graph = tf.function(lambda windows: model(windows, training=training))
        return {variable.name for variable in graph.get_concrete_function(window).variables}

    seeds = {variable for variable in read(training=True) if "seed_generator" in variable}
    assert seeds
    assert not seeds & read(training=False)


@pytest.mark.parametrize("name", ["mobilenetv2", "musicnn"])
def test_a_body_starts_from_a_weights_file(name, tmp_path):
    path = tmp_path / "body.weights.h5"
    body = new(name).get_layer(heads.BODY)
    body.save_weights(path)
    started = new(name, weights=str(path)).get_layer(heads.BODY)
    for value, same in zip(body.get_weights(), started.get_weights(), strict=True):
        np.testing.assert_array_equal(value, same)


def published(network, path):
    """Writes a network's weights in the format of keras.applications' files."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return str(path)


@pytest.mark.parametrize("name", ["vgg16", "efficientnetb0"])
def test_a_backbone_starts_from_a_published_file_or_what_keras_downloads(
    name, tmp_path, monkeypatch
):
    """And what came of it is the same network when it is rebuilt from its own weights alone."""
    reads = described(name)
    network = APPLICATIONS[name](
        include_top=False, weights=None, input_shape=(reads.bins, reads.window_frames, 3)
    )
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.01, 0.02, weight.shape) for weight in network.get_weights()])
    path = published(network, tmp_path / f"{name}_notop.h5")
    started = new(name, weights=path)
    (*_, convolution) = (x for x in network.layers if isinstance(x, keras.layers.Conv2D))
    inside = started.get_layer(heads.BODY).layers[-1].get_layer(convolution.name)
    np.testing.assert_array_equal(inside.get_weights()[0], convolution.get_weights()[0])
    rebuilt = new(name)
    rebuilt.set_weights(started.get_weights())
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: path)
    windows = rng.normal(size=(2, *reads.window_shape)).astype(np.float32)
    expected, *others = (
        model.get_layer(heads.BODY)(windows).numpy()
        for model in (started, rebuilt, new(name, weights="imagenet"))
    )
    assert np.abs(expected).max() > 0.0
    for outputs in others:
        np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    keras.backend.clear_session()


def test_efficientnet_preprocesses_as_published_with_imagenets_weights():
    """Red, green and blue from 0 to 1, less ImageNet's mean, by its deviation."""
    picture = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    preprocessed = backbones.preprocess(keras.ops.convert_to_tensor(picture), "torch")
    expected = keras.applications.imagenet_utils.preprocess_input(picture.copy(), mode="torch")
    np.testing.assert_allclose(preprocessed, expected, atol=1e-5)


def test_a_weights_file_that_does_not_fit_says_which_layer(tmp_path):
    path = tmp_path / "body.weights.h5"
    wrong = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="unfitting")])
    wrong.save_weights(path)
    with pytest.raises(WeightsError, match=r"does not fit mobilenetv2: .*'Conv1'.*Received: "):
        new("mobilenetv2", weights=str(path))
    (tmp_path / "noise.h5").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="does not fit mobilenetv2"):
        new("mobilenetv2", weights=str(tmp_path / "noise.h5"))
    deeper = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    with pytest.raises(WeightsError, match=r"does not fit vgg16: .*vgg16 has no .*block3_conv4"):
        new("vgg16", weights=published(deeper, tmp_path / "vgg19_notop.h5"))
    with pytest.raises(WeightsError, match="no weights file for vgg16"):
        new("vgg16", weights=str(tmp_path / "none.h5"))
    keras.backend.clear_session()


def test_a_head_comes_first_with_the_statistics_of_its_inputs(tmp_path):
    name = "mobilenetv2"
    reads = described(name)
    weights = save_body(name, tmp_path)
    result = trained(
        name,
        coloured(reads, 4),
        coloured(reads, 4, seed=1),
        head_epochs=2,
        model=ModelSettings(weights=weights, fine_tune=True, fine_tune_share=0.1),
    )
    assert len(result.history["loss"]) == 3
    assert result.model.get_layer(heads.SCALE).get_weights()[0].any()  # its inputs' statistics


def test_fine_tuning_moves_the_top_of_a_body_but_no_normalisation(tmp_path):
    name = "mobilenetv2"
    reads = described(name)
    weights = save_body(name, tmp_path)
    started = new(name, weights).get_layer(heads.BODY).layers[-1]
    result = trained(
        name,
        coloured(reads, 4),
        None,  # or the head's weights may be the best ones
        fine_tune_learning_rate=1e-2,
        model=ModelSettings(weights=weights, fine_tune=True, fine_tune_share=0.5),
    )
    tuned = result.model.get_layer(heads.BODY).layers[-1]
    moved = {
        old.name
        for old, now in zip(started.layers, tuned.layers, strict=True)
        for before, after in zip(old.get_weights(), now.get_weights(), strict=True)
        if not np.array_equal(before, after)
    }
    assert "Conv_1" in moved  # the last convolution
    assert "Conv1" not in moved  # the first one
    assert not any("BN" in layer or "bn" in layer for layer in moved)


@pytest.mark.parametrize("name", LEAST_MEL_BINS)
def test_the_least_bins_are_those_that_leave_something_to_read(name):
    least = LEAST_MEL_BINS[name]
    for bins in (least, least - 1):
        reads = dataclasses.replace(described(name), bins=bins)
        try:
            model = build(name, feature=reads, genre_count=4, settings=ModelSettings(width=0.25))
        except ValueError as error:
            assert bins < least and "must be at least" in str(error)
        else:
            empty = any(0 in layer.output.shape for layer in model.layers)
            assert empty == (bins < least)
    keras.backend.clear_session()


def test_an_unknown_model_or_the_wrong_feature_is_refused():
    settings = ModelSettings()
    with pytest.raises(ValueError, match="Received: 'resnet'"):
        build("resnet", feature=described("cnn"), genre_count=4, settings=settings)
    with pytest.raises(ValueError, match=r"lstm reads mfcc\. Received: 'log_mel'"):
        build("lstm", feature=described("cnn"), genre_count=4, settings=settings)
