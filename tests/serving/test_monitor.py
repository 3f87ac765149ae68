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
    for answer in answers:
        line = {
            "kind": "answer",
            "model": "genre",
            "version": 7,
            "signature": "classify_audio",
            "genre": answer.genre,
            "confidence": answer.confidence,
            "runner_up": answer.runner_up,
            "entropy_bits": 1.0,
            **describe_sound({"audio": answer.samples[None]}, 0),
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


def louder(samples: np.ndarray) -> np.ndarray:
    return np.clip(9 * samples, -1, 1)


def half_silent(samples: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(samples)) % 40_000 < 20_000, 0, samples).astype(np.float32)


# What is changed of an answer: a function of the sound, or other values; and what notices it.
CHANGES = {
    "nothing": ({}, set()),
    "quieter": (lambda sound: deformations.quieter_12db(sound, RATE), {"rms_db", "peak"}),
    "telephone": (lambda sound: deformations.telephone_8k(sound, RATE), {"bandwidth_hz"}),
    "clipped": (louder, {"clipped_fraction", "peak", "rms_db"}),
    "half silent": (half_silent, {"silent_fraction"}),
    "one genre": ({"genre": "jazz"}, {"genre"}),
    "a new genre": ({"genre": "Schlager [neu]"}, {"genre"}),
    "less sure": ({"confidence": 0.6}, {"confidence"}),
    "close": ({"runner_up": 0.8}, {"close"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_by_its_own_figure(base, alike, tmp_path, change):
    changed, expected = CHANGES[change]
    answers = [
        answer._replace(samples=changed(answer.samples))
        if callable(changed)
        else answer._replace(**changed)
        for answer in alike
    ]
    folder = write(tmp_path / "samples", answers)
    code, report = run(base, folder, tmp_path)
    assert (code, report["verdict"]) == ((2, "drift") if expected else (0, "no drift"))
    assert expected <= drifted(report)
    divergences = [each for each in report["findings"] if "Jensen-Shannon" in each["measure"]]
    assert len(divergences) == 5 and all(each["value"] is not None for each in divergences)
    if not callable(changed):
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
    folder = write(tmp_path / "samples", [answer._replace(genre="jazz") for answer in alike[:49]])
    code, report = run(base, folder, tmp_path, "--page", str(tmp_path / "page.html"))
    assert (code, report["verdict"], report["findings"]) == (0, "too few samples", [])
    assert "49 of version 7, at least 50 are needed" in capsys.readouterr().out
    assert "Too few samples" in (tmp_path / "page.html").read_text()
    assert run(base, folder, tmp_path, "--min-samples", "49")[0] == 2


def test_samples_of_other_versions_models_and_days_are_left_out(base, alike, tmp_path):
    folder = write(tmp_path / "samples", alike)
    loud = [answer._replace(genre="jazz") for answer in alike]
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
    statistics_file = tmp_path / "old" / "1" / "assets.extra" / "training_statistics.pb"
    statistics_file.parent.mkdir(parents=True)
    (tmp_path / "old" / "1" / "saved_model.pb").touch()
    old = ["--base", str(tmp_path / "old"), "--samples", str(samples)]
    assert "holds no assets.extra/training_statistics.pb" in refusal(*old)
    statistics_file.write_bytes(b"\xff\xff")
    assert "holds no statistics of TFDV" in refusal(*old)
    statistics_file.write_bytes(b"")
    assert "statistics of no examples" in refusal(*old)
    with pytest.raises(SystemExit) as stopped:
        monitor.main([])
    assert stopped.value.code == 1, "2 is drift"
    assert monitor.main([*here, "--page", "/dev/null/page.html"]) == 1


def bins_of(values: np.ndarray, **options) -> statistics.Bins:
    frame = pd.DataFrame({"rms_db": values.astype(np.float32)})
    training = tfdv.generate_statistics_from_dataframe(frame, n_jobs=1)
    feature = statistics.feature_statistics(training, "rms_db")
    bins = statistics.quantile_bins(feature, **options)
    assert bins.counts.sum() == pytest.approx(len(values), rel=0.02)
    return bins


def divergence(values: np.ndarray, served: np.ndarray, **options) -> float:
    bins = bins_of(values, **options)
    actual = bins.count(served.astype(np.float32).astype(float).tolist())
    assert actual.sum() == len(served)
    return statistics.divergence(bins.counts, actual)


def test_divergence_is_its_formula():
    half = np.array([50.0, 50.0])
    assert statistics.divergence(half, half) == 0
    assert statistics.divergence(np.array([5.0, 0.0]), np.array([0.0, 9.0])) == pytest.approx(1)
    served = np.array([0.75, 0.25])
    middle = (0.5 + served) / 2
    terms = 0.5 * np.log2(0.5 / middle) + served * np.log2(served / middle)
    assert statistics.divergence(half, 100 * served) == pytest.approx(terms.sum() / 2)


def test_samples_of_the_training_data_stay_under_the_noise_and_a_shift_does_not():
    random = np.random.default_rng(0)
    noise = statistics.divergence_noise(10, 60, 60)
    over = 0
    for _ in range(100):
        values, served = random.normal(-15, 3, 60), random.normal(-15, 3, 60)
        over += divergence(values, served) > noise
    assert over <= 2  # one in a thousand is expected
    assert divergence(values, random.normal(-24, 3, 60)) > noise


def test_values_that_fill_whole_bins_have_bins_of_their_own():
    random = np.random.default_rng(1)
    constant = np.full(80, 11_025.0)
    assert divergence(constant, constant) == 0
    assert divergence(constant, np.full(80, 3_400.0)) == pytest.approx(1)
    assert divergence(np.zeros(80), np.full(80, 0.3)) == pytest.approx(1)
    mostly_zero = np.where(random.random(200) < 0.63, 0.0, random.random(200))
    assert divergence(mostly_zero, mostly_zero) < 0.01
    assert divergence(mostly_zero, np.where(random.random(200) < 0.63, 0.0, 0.5)) > 0.045
    # Nearly all of GTZAN reaches the full bandwidth, and all that is served does.
    one_odd_track = np.where(np.arange(100) == 0, 5_000.0, 11_025.0)
    assert divergence(one_odd_track, np.full(60, 11_025.0)) < 0.02


def test_bins_are_named_as_a_person_reads_them():
    assert bins_of(np.full(80, 11_025.0)).names == ["< 11025", "11025", "> 11025"]
    assert bins_of(np.zeros(80)).names == ["< 0", "0", "> 0"]
    spread = bins_of(np.linspace(-20, -10, 101)).names
    assert (spread[0], spread[1], spread[-1]) == ("≤ -19", "-19 – -18", "> -11")


def test_the_training_files_bandwidth_is_what_serving_can_have():
    """Files at 44.1 kHz reach 22 kHz; what is served was resampled to 22 050 Hz."""
    random = np.random.default_rng(2)
    values = random.uniform(9_000, 22_000, 100)
    served = np.minimum(random.uniform(9_000, 22_000, 100), 11_025)
    assert divergence(values, served, largest=11_025.0) < 0.045
    assert divergence(values, served) > 0.3
