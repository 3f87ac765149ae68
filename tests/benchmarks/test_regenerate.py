"""The command that measures what the table of figures lacks."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, regenerate
from benchmarks.regenerate import DESCRIPTORS, Job
from benchmarks.results import FIELDS, append, prepare, read
from components.gtzan.genres import GENRES
from tests.conftest import ROOT


@pytest.fixture
def gtzan(tmp_path) -> Path:
    """A folder with the parts of GTZAN that a job on the published descriptors reads."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "gtzan"
    (folder / "splits").mkdir(parents=True)
    names = [f"{genre}.{number:05d}" for genre in GENRES for number in range(6)]
    with (folder / "features_30_sec.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "length", "one", "two", "label"])
        for name in names:
            genre = name.partition(".")[0]
            place = GENRES.index(genre)
            values = draw.normal([place % 4, place // 4], 0.1)
            table.writerow([f"{name}.wav", 661500, *values, genre])
    for split, here in (("train", names[::2]), ("valid", names[1::2])):
        lines = [f"{name.partition('.')[0]}/{name}.wav\n" for name in here]
        (folder / "splits" / f"{split}_filtered.txt").write_text("".join(lines))
    return folder


def row_of(job: Job, model: str = "ann", number: int = 0) -> dict[str, str]:
    """A row of a job, as far as it tells that it is done."""
    return {
        "data": f"{job.data}, measured",
        "protocol": job.protocol,
        "model": model,
        "seed": str(job.seed),
        "round": str(number),
    }


def test_open_jobs_are_measured_once_and_one_that_would_take_too_long_is_left(
    gtzan, tmp_path, capfd
):
    results = tmp_path / "results.csv"
    prepare(results)
    short, long = (Job(DESCRIPTORS, "listed", ("ann",), seed, 1, 1 + 89 * seed) for seed in (0, 1))
    quick = ("--epochs", "2")
    assert regenerate.run([short, long], gtzan=gtzan, results=results, hours=1, extra=quick)
    assert [(row["model"], row["seed"]) for row in read(results)] == [("ann", "0"), ("svm", "0")]
    screen = capfd.readouterr().out
    assert "1/2 published descriptors, listed: ann, seed 0: about 1 min" in screen
    assert "2/2 published descriptors, listed: ann, seed 1: left open, it takes about 90 min" in (
        screen
    )
    assert regenerate.run([short], gtzan=gtzan, results=results, hours=1, extra=quick)
    assert len(read(results)) == 2
    assert "there already" in capfd.readouterr().out


def test_a_job_that_fails_is_said_and_costs_no_other(gtzan, tmp_path, capfd):
    results = tmp_path / "results.csv"
    prepare(results)
    (gtzan / "splits" / "valid_filtered.txt").write_text("rock/rock.00099.wav\n")
    bad, good = (Job(DESCRIPTORS, "listed", ("ann",), seed, 1, 1) for seed in (0, 1))
    append(results, dict.fromkeys(FIELDS, "") | row_of(good))
    assert not regenerate.run([bad, good], gtzan=gtzan, results=results, hours=1)
    screen = capfd.readouterr()
    assert "names no track" in screen.err and "Traceback" not in screen.err
    assert "1/2 published descriptors, listed: ann, seed 0: failed with exit code 1" in screen.err
    assert "2/2 published descriptors, listed: ann, seed 1: there already" in screen.out


def test_every_job_is_a_command_that_the_benchmark_takes(gtzan):
    for path in ("genres_original", "spectrograms"):
        (gtzan / path).mkdir()
    for name in ("spectrograms/log_mel_without_test.npz", "artists.csv"):
        (gtzan / name).touch()
    for job in regenerate.all_jobs():
        options = accuracy.parse_arguments(job.arguments(gtzan))
        assert options.models == job.models and options.seeds == (job.seed,)


def test_an_interrupted_round_leaves_its_job_open(tmp_path):
    job = Job("audio", "folds", ("cnn", "ensemble"), 0, 2, 1)
    rows = [row_of(job, model, number) for model in job.models for number in range(2)]
    results = tmp_path / "results.csv"
    prepare(results)
    for row in rows[:3]:
        append(results, dict.fromkeys(FIELDS, "") | row)
    assert not job.is_done(read(results))
    append(results, dict.fromkeys(FIELDS, "") | rows[3])
    assert job.is_done(read(results))


def test_a_missing_folder_is_named():
    command = [sys.executable, "-m", "benchmarks.regenerate", "--gtzan", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no folder nowhere" in done.stderr
