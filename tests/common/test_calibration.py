"""Temperature scaling: the order stays, its inverse is one, a fit brings confidence to accuracy."""

import dataclasses
import json

import numpy as np
import pytest

from components.common import calibration, temperature
from components.common.temperature import merged, scaled, unscaled

TEMPERATURES = (0.25, 0.6, 1.0, 1.7, 4.0)


def drawn(tracks: int, *, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels: right at a sharpness of 1, too unsure at 0.5, too sure at 2."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(tracks, 6))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(6, p=row) for row in true])
    shown = np.exp(sharpness * logits)
    return shown / shown.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("value", TEMPERATURES)
def test_the_order_of_the_genres_stays_and_rows_sum_to_one(value):
    rng = np.random.default_rng(1)
    drawn_rows = rng.dirichlet(np.full(10, 0.2), size=20_000).astype(np.float32)
    answer = scaled(drawn_rows, value)
    np.testing.assert_array_equal(answer.argmax(axis=1), drawn_rows.argmax(axis=1))
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-5)
    assert (answer.max(axis=1) > drawn_rows.max(axis=1) - 1e-5).all() or value > 1


@pytest.mark.parametrize("value", TEMPERATURES)
def test_scaling_can_be_taken_back_even_where_a_probability_is_zero(value):
    rows = np.random.default_rng(2).dirichlet(np.full(10, 0.1), size=2000).astype(np.float32)
    rows[0] = np.eye(10)[3]
    np.testing.assert_allclose(unscaled(scaled(rows, value), value), rows, atol=2e-6)


def test_windows_that_do_not_count_stay_zero_and_what_is_no_number_shows():
    rows = np.array([[0.0, 0.0], [np.nan, 0.5], [0.2, 0.8]])
    for function in (scaled, unscaled):
        answer = function(rows, 2.0)
        assert not answer[0].any() and np.isnan(answer[1]).any()
        np.testing.assert_allclose(answer[2].sum(), 1.0, atol=1e-6)


def test_windows_are_merged_to_the_scaled_mean_whatever_the_parts():
    windows = np.random.default_rng(3).dirichlet(np.full(10, 0.3), size=30)
    for value in TEMPERATURES:
        whole = scaled(windows.mean(axis=0), value)
        np.testing.assert_allclose(merged(scaled(windows, value), value), whole, atol=1e-5)


@pytest.mark.parametrize(("sharpness", "expected"), [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0)])
def test_a_fit_on_many_tracks_finds_how_unsure_or_too_sure_a_model_is(sharpness, expected):
    fitted = calibration.fit(*drawn(3000, sharpness=sharpness))
    assert fitted.temperature == pytest.approx(expected, rel=0.08)
    assert fitted.after.ece < 0.03
    assert fitted.after.log_loss <= fitted.before.log_loss + 1e-9
    if sharpness != 1.0:
        assert fitted.before.ece > 0.1


def test_a_model_that_is_always_right_gets_surer_but_not_certain_of_few_tracks():
    labels = np.arange(12) % 6
    unsure = np.where(np.eye(6, dtype=bool)[labels], 0.6, 0.08)
    few = calibration.fit(unsure, labels)
    assert 0.25 < few.temperature < 0.8 and 0.7 < scaled(unsure, few.temperature).max() < 0.999
    many = calibration.fit(np.tile(unsure, (100, 1)), np.tile(labels, 100))
    assert many.temperature < few.temperature
    assert "bound" in many.note


LABELS = np.arange(12) % 3
DEGENERATE = {
    "9 validation tracks": (np.eye(3)[LABELS[:9]], LABELS[:9]),
    "not numbers": (np.full((12, 3), np.nan), LABELS),
    "one genre": (drawn(12, sharpness=1)[0], np.zeros(12, int)),
    "same probability": (np.full((12, 3), 1 / 3), LABELS),
    "0 validation tracks": (np.zeros((0, 3)), LABELS[:0]),
}


@pytest.mark.parametrize("note", DEGENERATE)
def test_nothing_is_fitted_to_too_little_and_the_file_says_why(note, tmp_path):
    fitted = calibration.fit(*DEGENERATE[note])
    assert fitted.temperature == 1.0 and note in fitted.note
    calibration.write(str(tmp_path), fitted)
    stored = json.loads((tmp_path / "calibration.json").read_text(), parse_constant=pytest.fail)
    assert stored["temperature"] == 1.0 and note in stored["note"]
    again = calibration.read(str(tmp_path))
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(fitted))


def test_a_folder_without_the_file_has_no_calibration(tmp_path):
    assert calibration.read(str(tmp_path)) is None


def test_the_bounds_keep_the_smallest_probability_within_float32():
    least = scaled(np.array([[1.0, 0.0]]), temperature.LOWEST)[0, 1]
    assert least > np.finfo(np.float32).tiny
