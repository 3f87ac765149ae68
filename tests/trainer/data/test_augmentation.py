"""Augmentation does to windows what its settings say, and the schedule to the rate."""

import dataclasses

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.trainer.data import windows
from components.trainer.data.augmentation import augment
from components.trainer.data.tracks import Tracks
from components.trainer.data.windows import source_frames
from components.trainer.settings import AugmentationSettings, TrainingSettings
from components.trainer.training.phases import compile_model
from tests.trainer.conftest import GENRE_NAMES, coloured

LOG_MEL = feature("log_mel", AudioSettings())
EACH = {
    "gain": AugmentationSettings(gain=0.5),
    "noise": AugmentationSettings(noise=0.2),
    "equaliser": AugmentationSettings(equaliser=0.4),
    "bin_offset": AugmentationSettings(bin_offset=0.4),
    "time_stretch": AugmentationSettings(time_stretch=0.2),
    "pitch_shift": AugmentationSettings(pitch_shift_semitones=2.0),
    "frequency_mask": AugmentationSettings(frequency_mask=0.3, frequency_masks=2),
    "time_mask": AugmentationSettings(time_mask=0.3, time_masks=2),
    "mixup": AugmentationSettings(mixup=0.4),
}
ALL = AugmentationSettings(
    **{
        name: value
        for settings in EACH.values()
        for name, value in dataclasses.asdict(settings).items()
        if value and not name.endswith("masks")
    }
)


def batch(settings, described=LOG_MEL, count=4, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, source_frames(described, settings), described.bins)
    labels = np.eye(len(GENRE_NAMES), dtype=np.float32)[np.arange(count) % len(GENRE_NAMES)]
    return tf.constant(rng.normal(size=shape), tf.float32), tf.constant(labels)


def varied(settings, described=LOG_MEL, seed=(0, 0), inputs=None):
    values, labels = inputs or batch(settings, described)
    return augment(
        values,
        labels,
        seed=tf.constant(seed, tf.int64),
        feature=described,
        settings=settings,
    )


@pytest.mark.parametrize("name", EACH)
def test_each_variation_changes_windows_and_keeps_them_whole(name):
    settings = EACH[name]
    values, _ = batch(settings)
    augmented, labels = varied(settings)
    assert augmented.shape == (4, *LOG_MEL.window_shape)
    assert np.isfinite(augmented).all()
    assert not np.allclose(augmented, values[:, : LOG_MEL.window_frames])
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["mfcc", "music_mel", "descriptors"])
def test_every_feature_can_be_varied(name):
    described = feature(name, AudioSettings())
    augmented, _ = varied(ALL, described)
    assert augmented.shape == (4, *described.window_shape)
    assert np.isfinite(augmented).all()


def test_nothing_is_varied_when_everything_is_off(no_augmentation):
    values, labels = batch(no_augmentation)
    augmented, same = varied(no_augmentation)
    np.testing.assert_array_equal(augmented, values)
    np.testing.assert_array_equal(same, labels)


def test_the_seed_decides_what_is_drawn():
    np.testing.assert_array_equal(varied(ALL, seed=(3, 7))[0], varied(ALL, seed=(3, 7))[0])
    assert not np.allclose(varied(ALL, seed=(3, 7))[0], varied(ALL, seed=(3, 8))[0])


@pytest.mark.parametrize("band", [16, 30, 60, 110])
def test_a_transposed_tone_is_where_librosas_bands_have_it(band):
    tone = np.zeros((64, *LOG_MEL.window_shape), np.float32)
    tone[:, :, band - 1 : band + 2] = [0.5, 1.0, 0.5]
    labels = tf.one_hot(np.zeros(64, np.int32), len(GENRE_NAMES))
    augmented, _ = varied(EACH["pitch_shift"], inputs=(tf.constant(tone), labels))
    weights = augmented.numpy().mean(axis=1)
    positions = (weights * np.arange(LOG_MEL.bins)).sum(axis=1) / weights.sum(axis=1)
    hertz = librosa.mel_frequencies(LOG_MEL.bins + 2, fmin=0.0, fmax=11025.0)[1:-1]
    lowest, highest = (
        np.interp(hertz[band] * 2 ** (semitones / 12), hertz, np.arange(LOG_MEL.bins))
        for semitones in (-2, 2)
    )
    assert lowest - 0.2 <= positions.min() < lowest + 0.5
    assert highest - 0.5 < positions.max() <= highest + 0.2


def test_an_equaliser_adds_the_same_curve_to_every_frame_of_a_window():
    values, labels = batch(EACH["equaliser"], count=64)
    added = varied(EACH["equaliser"], inputs=(values, labels))[0] - values
    curves = added.numpy().mean(axis=1)
    np.testing.assert_allclose(added, np.broadcast_to(curves[:, None], added.shape), atol=1e-5)
    assert 0.3 < np.abs(curves).max() <= 0.4
    assert np.ptp(curves, axis=1).min() > 0.05  # more than a change of level
    most_a_band = 2 * 0.4 * 5 / (LOG_MEL.bins - 1)  # straight lines between six levels
    assert np.abs(np.diff(curves, axis=1)).max() <= most_a_band + 1e-5
    assert len(np.unique(curves[:, 0].round(4))) > 32  # a curve of its own for each window


def test_an_equaliser_leaves_what_is_not_over_frequency_alone():
    mfcc = feature("mfcc", AudioSettings())
    values, labels = batch(EACH["equaliser"], mfcc)
    augmented, _ = varied(EACH["equaliser"], mfcc, inputs=(values, labels))
    np.testing.assert_array_equal(augmented, values)


def test_an_offset_of_every_coefficient_stays_the_same_for_a_window():
    mfcc = feature("mfcc", AudioSettings())
    values, labels = batch(EACH["bin_offset"], mfcc, count=64)
    added = varied(EACH["bin_offset"], mfcc, inputs=(values, labels))[0] - values
    offsets = added.numpy().mean(axis=1)
    np.testing.assert_allclose(added, np.broadcast_to(offsets[:, None], added.shape), atol=1e-5)
    assert -0.4 <= offsets.min() < -0.3
    assert 0.3 < offsets.max() <= 0.4
    assert len(np.unique(offsets.round(4))) > 1000  # of its own for each window and coefficient


def test_an_offset_leaves_the_other_variations_as_they_were():
    """Figures measured without it stay what they are."""
    both = dataclasses.replace(EACH["equaliser"], bin_offset=0.4)
    inputs = batch(both)
    offset = varied(EACH["bin_offset"], inputs=inputs)[0] - inputs[0]
    expected = varied(EACH["equaliser"], inputs=inputs)[0] + offset
    np.testing.assert_allclose(varied(both, inputs=inputs)[0], expected, atol=1e-5)


def test_a_faster_tempo_brings_later_events_earlier():
    settings = EACH["time_stretch"]
    clicks = np.zeros((64, source_frames(LOG_MEL, settings), LOG_MEL.bins), np.float32)
    clicks[:, 90:93] = 1.0
    labels = tf.one_hot(np.zeros(64, np.int32), len(GENRE_NAMES))
    augmented, _ = varied(settings, inputs=(tf.constant(clicks), labels))
    positions = np.argmax(augmented.numpy()[:, :, 0], axis=1)
    assert 90 / 1.2 - 2 <= positions.min() < 85
    assert 100 < positions.max() <= 91 / 0.8 + 2


def test_training_windows_are_the_same_for_the_same_seed():
    tracks = coloured(LOG_MEL, 6)
    settings = TrainingSettings(batch_size=3, augmentation=ALL, seed=5)

    def first_two(chosen):
        tf.random.set_seed(chosen.seed)
        data = windows.training_windows(tracks, genre_weights=np.ones(4), settings=chosen)
        return [value.numpy() for element in data.take(2) for value in element]

    first, second = first_two(settings), first_two(settings)
    other = first_two(dataclasses.replace(settings, seed=6))
    for value, same in zip(first, second, strict=True):
        np.testing.assert_array_equal(value, same)
    assert not np.allclose(first[0], other[0])
    assert first[0].shape == (3, *LOG_MEL.window_shape)
    assert first[1].shape == (3, len(GENRE_NAMES))


def test_the_loss_is_smoothed_and_the_rate_climbs_and_falls():
    """Warm-up to the peak, then a cosine to nothing; biases are not decayed."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(inputs))
    settings = TrainingSettings(warm_up=0.25, label_smoothing=0.2, weight_decay=0.03)
    compile_model(model, settings, peak=1e-2, steps=40)
    rates = [float(model.optimizer._learning_rate(step)) for step in range(41)]
    assert rates[10] == pytest.approx(1e-2) == max(rates)
    assert rates[0] == pytest.approx(1e-4) and rates[40] == pytest.approx(0.0, abs=1e-8)
    assert rates[25] == pytest.approx(5e-3)  # halfway down
    answer = np.full((1, 4), 0.25, np.float32)
    answer[0, 0], answer[0, 1:] = 0.7, 0.1
    smoothed = np.array([0.85, 0.05, 0.05, 0.05])
    augmented = model.loss(np.eye(4, dtype=np.float32)[:1], answer)
    assert float(augmented) == pytest.approx(-(smoothed * np.log(answer[0])).sum(), rel=1e-5)
    assert model.optimizer.weight_decay == 0.03
    decayed = {weight.name: model.optimizer._use_weight_decay(weight) for weight in model.weights}
    assert decayed == {"kernel": True, "bias": False}


def test_a_rarer_genre_weighs_more():
    def weights(labels):
        return Tracks.from_arrays(LOG_MEL, np.zeros((len(labels), 1, 1)), labels).genre_weights(4)

    np.testing.assert_allclose(weights([0, 0, 0, 1]), [4 / 6, 2.0, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(weights(np.arange(8) % 4), 1.0)
