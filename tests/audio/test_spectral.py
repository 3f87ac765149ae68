import librosa
import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from components.audio import spectral
from components.audio.features.music_mel import WINDOW_LENGTH
from tests.audio import signals


@pytest.fixture(scope="module")
def noise(settings):
    return signals.levelled(signals.noise(settings), settings)


@pytest.fixture(scope="module")
def noise_features(noise, features_of):
    return {name: x[0] for name, x in features_of(noise[np.newaxis]).items()}


def test_a_tone_is_loudest_in_its_own_mel_band(settings, features_of):
    frequencies = [220.0, 1000.0, 5000.0]
    sounds = np.stack([signals.tone(frequency, settings) for frequency in frequencies])
    loudest = features_of(sounds)["log_mel"][:, 10:-10].mean(axis=1).argmax(axis=1)
    centres = librosa.mel_frequencies(settings.mel_bins + 2, fmax=settings.sample_rate_hz / 2)[1:-1]
    for band, frequency in zip(loudest, frequencies, strict=True):
        assert abs(band - np.abs(centres - frequency).argmin()) <= 1


def test_spectrum_equals_librosas_of_the_padded_sound(settings):
    sound = signals.noise(settings)
    ours = spectral.magnitudes(tf.constant(sound), settings).numpy()
    np.testing.assert_allclose(ours, signals.librosa_magnitudes(sound, settings).T, atol=2e-5)


def test_log_mel_equals_librosas(settings, noise, noise_features, features_of):
    tone = signals.levelled(signals.tone(440, settings), settings)
    for sound, ours in (
        (noise, noise_features["log_mel"]),
        (tone, features_of(tone[np.newaxis])["log_mel"][0]),
    ):
        magnitude = signals.librosa_magnitudes(sound, settings)
        mel = librosa.feature.melspectrogram(S=magnitude**2, sr=settings.sample_rate_hz)
        np.testing.assert_allclose(ours, librosa.power_to_db(mel).T, atol=1e-3)


def test_mfcc_are_the_orthonormal_cosine_transform_of_the_log_mel(settings, noise_features):
    expected = scipy.fft.dct(noise_features["log_mel"], type=2, norm="ortho", axis=1)
    np.testing.assert_allclose(
        noise_features["mfcc"], expected[:, : settings.mfcc_coefficients], atol=1e-3
    )
    librosas = librosa.feature.mfcc(S=noise_features["log_mel"].T, n_mfcc=20).T
    np.testing.assert_allclose(noise_features["mfcc"], librosas, atol=1e-3)


def test_features_of_real_tracks_equal_librosas(settings, features_of, real_clips):
    ours = features_of(np.stack(list(real_clips.values())))
    for index, sound in enumerate(real_clips.values()):
        sound = signals.levelled(sound, settings)
        magnitude = signals.librosa_magnitudes(sound, settings)
        mel = librosa.feature.melspectrogram(S=magnitude**2, sr=settings.sample_rate_hz)
        level_db = librosa.power_to_db(mel)
        np.testing.assert_allclose(ours["log_mel"][index], level_db.T, atol=1e-3)
        mfcc = librosa.feature.mfcc(S=level_db, n_mfcc=settings.mfcc_coefficients)
        np.testing.assert_allclose(ours["mfcc"][index], mfcc.T, atol=5e-3)


def test_nothing_lies_further_below_the_peak_than_top_db(settings, features_of):
    level_db = features_of(signals.tone(1000, settings)[np.newaxis])["log_mel"]
    np.testing.assert_allclose(level_db.max() - level_db.min(), settings.top_db, atol=1e-3)


def test_music_mel_equals_librosas_with_the_same_window(settings, noise, noise_features):
    # librosa centres the window of 706 in the transform's 1024 samples; magnitudes do not mind.
    offset = (1024 - WINDOW_LENGTH) // 2
    padded = np.pad(noise, (offset, 2048))
    power = librosa.feature.melspectrogram(
        y=padded, sr=settings.sample_rate_hz, n_fft=1024, win_length=WINDOW_LENGTH, hop_length=353,
        center=False, n_mels=96, fmax=8000,
    )  # fmt: skip
    expected = np.log10(10_000 * power * 512**2 / (WINDOW_LENGTH * 1024) + 1).T[
        : len(noise_features["music_mel"])
    ]
    np.testing.assert_allclose(noise_features["music_mel"], expected, atol=1e-4)


def test_music_mel_is_nearly_that_of_the_sound_at_16_khz(settings, real_clips, features_of):
    sound = signals.levelled(real_clips["jazz"], settings)
    ours = features_of(sound[np.newaxis])["music_mel"][0]
    resampled = librosa.resample(sound, orig_sr=settings.sample_rate_hz, target_sr=16_000)
    power = librosa.feature.melspectrogram(
        y=np.pad(resampled, (0, 512)), sr=16_000, n_fft=512, hop_length=256, n_mels=96, center=False
    )
    original = np.log10(10_000 * power + 1).T[: len(ours)]
    # A hop is 0.06 % longer than the original one, so over 30 s the frames drift apart by one.
    assert np.corrcoef(ours[:187].ravel(), original[:187].ravel())[0, 1] > 0.99
    assert ours.mean() == pytest.approx(original.mean(), rel=0.05)
