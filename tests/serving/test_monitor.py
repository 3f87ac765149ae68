"""The monitor: what is drift, what is chance, and what it says where it cannot compare."""

import collections
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

from components.audio import deformations
from components.gtzan.genres import GENRES
from serving import monitor
from serving.drift import statistics
from serving.server.sample_files import SampleFiles
from serving.server.sampled_sound import describe_sound
from tests.conftest import ROOT
from tests.serving.tone_model import SETTINGS
from tests.serving.traffic import songs, write_training_statistics

RATE = SETTINGS.sample_rate_hz
Answer = collections.namedtuple("Answer", "samples genre confidence runner_up")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> pathlib.Path:
    base = tmp_path_factory.mktemp("monitored") / "genre"
    extra = base / "7" / "assets.extra"
    extra.mkdir(parents=True)
    (base / "7" / "saved_model.pb").touch()  # which makes the folder a version
    write_training_statistics(base / "7")
    (extra / "release.json").write_text(json.dumps({"model": "cnn"}))
    bins = [{"confidence": 0.9, "tracks": 30}, {"confidence": 0.7, "tracks": 10}]
    judged = {"models": {"cnn": {"calibration": {"after": {"bins": bins}}}}}
    (extra / "report.json").write_text(json.dumps(judged))
    return base


@pytest.fixture(scope="module")
def alike() -> list[Answer]:
    """Traffic like the training data, answered as surely as the test tracks were."""
    return [
        Answer(samples, GENRES[place % len(GENRES)], 0.85, 0.1)
        for place, samples in enumerate(songs(60, seed=50))
    ]


def write(folder: pathlib.Path, answers: list[Answer], **fields) -> pathlib.Path:
    files = SampleFiles(folder, 1 << 20)
    for one in answers:
        line = {
            "kind": "answer",
            "model": "genre",
            "version": 7,
            "signature": "classify_audio",
            "genre": one.genre,
            "confidence": one.confidence,
            "runner_up": one.runner_up,
            "entropy_bits": 1.0,
            **describe_sound({"audio": one.samples[None]}, 0),
        }
        files.write({**line, **fields})
    return folder


def count(folder: pathlib.Path, calls: int, refused: dict[str, int]) -> None:
    reasons = [
        {"status": status, "reason": "a reason", "calls": number}
        for status, number in refused.items()
    ]
    fields = {"kind": "counts", "model": "genre", "calls": calls, "refused": reasons}
    SampleFiles(folder, 1 << 20).write(fields)


def run(base, samples, tmp_path, *flags) -> tuple[int, dict]:
    file = tmp_path / "monitor.json"
    code = monitor.main(
        ["--base", str(base), "--samples", str(samples), "--json", str(file), *flags]
    )
    return code, json.loads(file.read_text())


def drifted(report: dict) -> set[str]:
    return {finding["name"] for finding in report["findings"] if finding["drift"]}


CHANGES = {
    "nothing": (lambda one: one, set()),
    "quieter": (
        lambda one: one._replace(samples=deformations.quieter_12db(one.samples, RATE)),
        {"rms_db", "peak"},
    ),
    "telephone": (
        lambda one: one._replace(samples=deformations.telephone_8k(one.samples, RATE)),
        {"bandwidth_hz"},
    ),
    "one genre": (lambda one: one._replace(genre="jazz"), {"genre"}),
    "a new genre": (lambda one: one._replace(genre="Schlager [neu]"), {"genre"}),
    "less sure": (lambda one: one._replace(confidence=0.6), {"confidence"}),
    "close": (lambda one: one._replace(runner_up=0.8), {"close"}),
    "clipped": (
        lambda one: one._replace(samples=np.clip(9 * one.samples, -1, 1)),
        {"clipped_fraction", "peak", "rms_db"},
    ),
    "half silent": (
        lambda one: one._replace(
            samples=np.where(np.arange(len(one.samples)) % 40_000 < 20_000, 0, one.samples).astype(
                np.float32
            )
        ),
        {"silent_fraction"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_by_its_own_figure(base, alike, tmp_path, change):
    make, expected = CHANGES[change]
    folder = write(tmp_path / "samples", [make(one) for one in alike])
    code, report = run(base, folder, tmp_path)
    assert code == (2 if expected else 0)
    assert expected <= drifted(report)
    divergences = [one for one in report["findings"] if "Jensen-Shannon" in one["measure"]]
    assert len(divergences) == 6 and all(one["value"] is not None for one in divergences)
    if not expected:
        assert drifted(report) == set() and report["verdict"] == "no drift"
    if change in ("one genre", "a new genre", "less sure", "close"):
        assert drifted(report) == expected, "the sound is the same"


def test_refused_input_is_drift_and_a_busy_server_is_not(base, alike, tmp_path):
    folder = write(tmp_path / "samples", alike)
    count(folder, 100, {"UNAVAILABLE": 50})
    assert run(base, folder, tmp_path)[0] == 0
    count(folder, 100, {"INVALID_ARGUMENT": 30})
    code, report = run(base, folder, tmp_path)
    assert (code, drifted(report)) == (2, {"refused"})
    assert run(base, folder, tmp_path, "--max-refused", "0.2")[0] == 0


def test_a_shell_s_command_says_its_sentence_and_nothing_else(base, alike, tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    samples = write(tmp_path / "samples", alike)
    command = ["-m", "serving.monitor", "--base", str(base), "--samples", str(samples)]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout == "No drift: 60 samples are like the training data of version 7.\n"
    assert done.stderr == ""


def test_too_few_samples_are_said_and_not_judged(base, alike, tmp_path, capsys):
    folder = write(tmp_path / "samples", [one._replace(genre="jazz") for one in alike[:49]])
    code, report = run(base, folder, tmp_path, "--page", str(tmp_path / "page.html"))
    assert (code, report["verdict"], report["findings"]) == (0, "too few samples", [])
    assert "49 of version 7, at least 50 are needed" in capsys.readouterr().out
    assert "Too few samples" in (tmp_path / "page.html").read_text()
    assert run(base, folder, tmp_path, "--min-samples", "49")[0] == 2


def test_samples_of_other_versions_models_and_days_are_left_out(base, alike, tmp_path):
    folder = write(tmp_path / "samples", alike)
    loud = [one._replace(genre="jazz") for one in alike]
    write(folder, loud, version=6)
    write(folder, loud, model="other")
    long_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=30)
    write(folder, loud, time=long_ago.isoformat())
    code, report = run(base, folder, tmp_path, "--hours", "24")
    assert (code, report["answers"]) == (0, 60)
    assert any("60 answers of other versions" in note for note in report["notes"])
    assert run(base, folder, tmp_path)[1]["answers"] == 120


def test_broken_lines_are_one_note_that_names_the_first(base, alike, tmp_path, capsys):
    folder = write(tmp_path / "samples", alike)
    broken = folder / "samples-broken.jsonl"
    good = next(folder.glob("samples-*.jsonl")).read_text().splitlines()[0]
    lines = [
        '{"kind": "answer", "mod',
        "[]",
        '{"kind": "answer", "model": "genre"}',
        "\xff",
        re.sub(r'"peak": [^,}]+', f'"peak": {"9" * 401}', good),
        re.sub(r'"confidence": [^,}]+', '"confidence": NaN', good),
        re.sub(r'"runner_up": [^,}]+', '"runner_up": -Infinity', good),
        re.sub(r'"version": \d+', f'"version": {"7" * 5000}', good),
        '{"kind": "counts", "model": "genre", "calls": -1, "refused": []}',
        "[" * 100_000,
    ]
    assert len(set(lines)) == len(lines)
    broken.write_text("\n".join(lines))
    code, report = run(base, folder, tmp_path)
    assert code == 0 and report["answers"] == len(alike)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{broken}, line 1" in error and f"{len(lines)} lines" in error


def test_what_is_missing_or_broken_is_one_sentence(base, tmp_path, capsys):
    def refusal(*flags: str) -> str:
        assert monitor.main([*flags]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    samples = tmp_path / "samples"
    samples.mkdir()
    here = ["--base", str(base), "--samples", str(samples)]
    assert "--samples is no folder" in refusal("--base", str(base), "--samples", "/none")
    assert "holds no versions" in refusal("--base", str(tmp_path), "--samples", str(samples))
    assert "has no version 3. It has: 7" in refusal(*here, "--version", "3")
    assert "--training-statistics is not there" in refusal(*here, "--training-statistics", "/none")
    (tmp_path / "old" / "1").mkdir(parents=True)
    (tmp_path / "old" / "1" / "saved_model.pb").touch()
    old = ["--base", str(tmp_path / "old"), "--samples", str(samples)]
    assert "pushed by an earlier Gatefold" in refusal(*old)
    broken = tmp_path / "broken.pb"
    broken.write_bytes(b"\xff\xff")
    assert "holds no statistics of TFDV" in refusal(*old, "--training-statistics", str(broken))
    broken.write_bytes(b"")
    assert "statistics of no examples" in refusal(*old, "--training-statistics", str(broken))
    with pytest.raises(SystemExit) as stopped:
        monitor.main([])
    assert stopped.value.code == 1, "2 is drift"
    assert monitor.main([*here, "--page", "/dev/null/page.html"]) == 1


def training_of(values: np.ndarray, name: str = "rms_db"):
    frame = pd.DataFrame({name: values.astype(np.float32)})
    return tfdv.generate_statistics_from_dataframe(frame, n_jobs=1)


def index(values: np.ndarray, served: np.ndarray, name: str = "rms_db") -> float:
    training = training_of(values, name)
    bins = statistics.quantile_bins(statistics.feature_statistics(training, name))
    assert bins.counts.sum() == pytest.approx(len(values), rel=0.02)
    actual = bins.count(served.astype(np.float32).astype(float).tolist())
    assert actual.sum() == len(served)
    return statistics.stability_index(bins.counts, actual)


def test_stability_index_and_divergence_are_their_formulas():
    half = np.array([50.0, 50.0])
    assert statistics.stability_index(half, half) == 0
    assert statistics.divergence(half, half) == 0
    assert statistics.divergence(np.array([5.0, 0.0]), np.array([0.0, 9.0])) == pytest.approx(1)
    expected = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    many = statistics.stability_index(1e6 * half, 1e6 * np.array([75.0, 25.0]))
    assert many == pytest.approx(expected, rel=1e-4)


def test_samples_of_the_training_data_stay_under_the_noise_and_a_shift_does_not():
    random = np.random.default_rng(0)
    over = 0
    for _ in range(100):
        values, served = random.normal(-15, 3, 60), random.normal(-15, 3, 60)
        noise = statistics.stability_noise(10, 60, 60)
        over += index(values, served) > noise
        assert index(values, random.normal(-24, 3, 60)) > noise
    assert over <= 2  # one in a thousand is expected


def test_values_that_fill_whole_bins_have_bins_of_their_own():
    random = np.random.default_rng(1)
    constant = np.full(80, 11_025.0)
    assert index(constant, constant) < 0.01
    assert index(constant, np.full(80, 3_400.0)) > 1
    assert index(np.zeros(80), np.full(80, 0.3)) > 1
    mostly_zero = np.where(random.random(200) < 0.63, 0.0, random.random(200))
    assert index(mostly_zero, mostly_zero) < 0.01
    assert index(mostly_zero, np.where(random.random(200) < 0.63, 0.0, 0.5)) > 0.25


def test_bins_are_named_as_a_person_reads_them():
    def names(values: np.ndarray) -> list[str]:
        feature = statistics.feature_statistics(training_of(values), "rms_db")
        return statistics.quantile_bins(feature).names

    assert names(np.full(80, 11_025.0)) == ["< 11025", "11025", "> 11025"]
    assert names(np.zeros(80)) == ["< 0", "0", "> 0"]
    spread = names(np.linspace(-20, -10, 101))
    assert (spread[0], spread[1], spread[-1]) == ("≤ -19", "-19 – -18", "> -11")


def test_the_training_files_bandwidth_is_what_serving_can_have():
    """Files at 44.1 kHz reach 22 kHz; what is served was resampled to 22 050 Hz."""
    random = np.random.default_rng(2)
    wide = training_of(random.uniform(9_000, 22_000, 100), "bandwidth_hz")
    statistics.cap_bandwidth(wide, 11_025.0)
    feature = statistics.feature_statistics(wide, "bandwidth_hz")
    assert feature.num_stats.max == 11_025
    assert all(
        sum(bucket.sample_count for bucket in one.buckets) == pytest.approx(100, rel=0.02)
        for one in feature.num_stats.histograms
    )
    served = np.minimum(random.uniform(9_000, 22_000, 100), 11_025).tolist()
    bins = statistics.quantile_bins(feature)
    assert statistics.stability_index(bins.counts, bins.count(served)) < 0.25


def test_one_odd_track_in_the_training_data_is_no_drift():
    """Nearly all of GTZAN reaches the full bandwidth, and all that is served does."""
    values = np.full(100, 11_025.0)
    values[0] = 5_000.0
    assert index(values, np.full(60, 11_025.0)) < 0.1
