import librosa
import numpy as np
import pytest
import tensorflow as tf

from components.audio import frame_descriptors
from components.audio.descriptors import COLUMNS, FRAME_COLUMNS, STATISTICS
from components.audio.extraction import features_of_clip
from components.audio.features.descriptors import COLUMN_COUNT
from components.audio.settings import AudioSettings
from tests.audio import signals

# How far a frame may be from librosa's, in the quantity's unit; also in docs/notes/features.md.
TOLERANCES = {
    "chroma": 1e-4,
    "rms": 1e-6,
    "spectral_centroid": 0.1,  # Hz
    "spectral_bandwidth": 1.0,  # Hz
    "zero_crossing_rate": 1e-6,
    "mfcc": 5e-3,
    "contrast": 0.2,  # dB
    "tonnetz": 1e-4,
    "onset_strength": 1e-3,  # dB
}


def column(matrix: np.ndarray, name: str) -> np.ndarray:
    return matrix[..., COLUMNS.index(name)]


def assert_equals_librosa(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for name, tolerance in TOLERANCES.items():
        np.testing.assert_allclose(ours[name], theirs[name], atol=tolerance, err_msg=name)
    # Rounding may move the 85 % mark over a bin's edge (10.8 Hz) in a few frames in a thousand.
    moved = np.abs(ours["rolloff"] - theirs["rolloff"])
    assert moved.max() < 11.0
    assert np.mean(moved > 0) < 0.005


def test_frames_of_synthetic_sound_equal_librosas(settings, frames_of_sound, clips):
    for sound in (signals.noise(settings), clips[0], signals.clicks(100, settings, seconds=4)):
        assert_equals_librosa(frames_of_sound(sound), signals.librosa_frames(sound, settings))


def test_frames_of_real_tracks_equal_librosas(settings, frames_of_sound, real_clips):
    for sound in real_clips.values():
        assert_equals_librosa(frames_of_sound(sound), signals.librosa_frames(sound, settings))


def test_a_tones_centroid_and_rolloff_are_the_tone(settings, frames_of_sound):
    bin_hz = settings.sample_rate_hz / settings.fft_length
    for frequency in (300.0, 2000.0, 8000.0):
        frames = frames_of_sound(signals.tone(frequency, settings))
        inside = slice(0, -4)  # the last four frames reach over the end
        np.testing.assert_allclose(frames["spectral_centroid"][inside], frequency, atol=5.0)
        assert np.abs(frames["rolloff"][inside] - frequency).max() < 2 * bin_hz
        assert frames["spectral_bandwidth"][inside].max() < 5 * bin_hz
        crossings = 2 * frequency / settings.sample_rate_hz
        np.testing.assert_allclose(frames["zero_crossing_rate"][inside], crossings, atol=2e-3)
        np.testing.assert_allclose(frames["rms"][inside], 0.5 / np.sqrt(2), atol=2e-3)


@pytest.mark.parametrize(("note", "pitch_class"), [("C5", 0), ("A4", 9), ("F#4", 6)])
def test_a_note_sounds_in_its_pitch_class(note, pitch_class, settings, frames_of_sound):
    chroma = frames_of_sound(signals.tone(librosa.note_to_hz(note), settings))["chroma"]
    assert set(chroma[10:-10].argmax(axis=1)) == {pitch_class}
    assert chroma.max() == pytest.approx(1.0)


def test_bands_of_contrast_are_octaves_from_200_hz(settings):
    bin_hz = settings.sample_rate_hz / settings.fft_length
    starts = [start for start, _, _ in frame_descriptors.contrast_bands(settings)]
    np.testing.assert_allclose(
        np.array(starts) * bin_hz, [0, 200, 400, 800, 1600, 3200, 6400], atol=2 * bin_hz
    )
    assert frame_descriptors.contrast_bands(settings)[-1][1] == settings.fft_length // 2 + 1


@pytest.mark.parametrize("beats_per_minute", [80, 140])
def test_tempo_of_clicks_is_their_rate(beats_per_minute, settings, features_of):
    rows = features_of(signals.clicks(beats_per_minute, settings)[np.newaxis])["descriptors"]
    tempo = column(rows, "clip_tempo")
    assert np.ptp(tempo) == 0
    # Twice the tempo would be right as well; librosa's prior prefers what is nearer to 120.
    assert tempo[0, 0] == pytest.approx(beats_per_minute, rel=0.01)


def test_tempo_is_that_of_librosas_beat_tracker_within_half_a_frame_of_lag(
    settings, features_of, real_clips
):
    features = features_of(np.stack(list(real_clips.values())))
    for rows, level_db in zip(features["descriptors"], features["log_mel"], strict=True):
        onsets = librosa.onset.onset_strength(S=level_db.T, center=False, aggregate=np.median)
        theirs = librosa.feature.tempo(onset_envelope=onsets, sr=settings.sample_rate_hz)[0]
        lags = 60 * settings.frames_per_second / np.array([column(rows, "clip_tempo")[0], theirs])
        assert abs(lags[0] - lags[1]) <= 0.501


def test_a_row_is_the_windows_statistics_then_the_clips(settings, features_of, frames_of_sound):
    clicks = 0.1 * signals.clicks(90, settings, seconds=5)
    sound = np.concatenate([clicks, signals.noise(settings, samples=5 * 22_050)])
    sound = signals.levelled(sound, settings)
    rows = features_of(sound[np.newaxis])["descriptors"][0]
    frames = np.concatenate(list(frames_of_sound(sound).values()), axis=1).astype(np.float64)
    assert rows.shape == (3, len(COLUMNS))
    for window, row in enumerate(rows):
        inside = frames[window * settings.window_frames : (window + 1) * settings.window_frames]
        for scope, values in (("window", inside), ("clip", frames)):
            for index, name in enumerate(FRAME_COLUMNS):
                mean, variance = values[:, index].mean(), values[:, index].var()
                assert column(row, f"{scope}_{name}_mean") == pytest.approx(
                    mean, rel=1e-3, abs=1e-4
                )
                assert column(row, f"{scope}_{name}_var") == pytest.approx(
                    variance, rel=1e-3, abs=1e-4
                )
            chroma = values[:, :12]
            assert column(row, f"{scope}_chroma_stft_mean") == pytest.approx(
                chroma.mean(), rel=1e-3
            )
            assert column(row, f"{scope}_chroma_stft_var") == pytest.approx(chroma.var(), rel=1e-3)


def test_columns_are_as_many_as_the_feature_says_and_each_has_one_name():
    assert len(COLUMNS) == COLUMN_COUNT == len(set(COLUMNS))
    assert len(COLUMNS) == 2 * len(STATISTICS) + 1


def test_another_number_of_mfccs_is_refused(settings):
    other = AudioSettings(mfcc_coefficients=13)
    with pytest.raises(ValueError, match=r"mfcc_coefficients=20\. Received: 13"):
        features_of_clip(("descriptors",), tf.zeros([settings.minimum_samples]), other)
