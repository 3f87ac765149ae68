"""Measures each cell of the table in docs/results/index.md that lacks a figure, a row at a time.

    python -m benchmarks.regenerate --results output/results.csv [--gtzan FOLDER] [--hours 6]

Each job is a process of `benchmarks.accuracy`: a column, a model (an ensemble with its members) and
a seed. A job whose rows are in the results file is not run again, so the command can be stopped and
called again. `--list` says what is there, what is open and what it would take.
"""

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import results_table
from benchmarks.protocols import FOLDS
from benchmarks.results import Row, prepare, read
from components.common.errors import UserError

SPECTROGRAMS, AUDIO, DESCRIPTORS = "recovered spectrograms", "audio", "published descriptors"
_QUICK = ("cnn", "lstm", "musicnn", "musicvgg", "musictaggers")
_BACKBONES = ("mobilenetv2", "efficientnetb0", "inceptionv3", "vgg16", "vgg19")
_SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
      data: What the data are called in the results file, or how that begins.
      protocol: How tracks are divided.
      models: The models, with an ensemble behind its members.
      seed: Of the training, and of the folds.
      rounds: How many rows there are for each model when it is done.
      minutes: About what it takes on two cores; measured where the docs have a figure, else
        estimated.
    """

    data: str
    protocol: str
    models: tuple[str, ...]
    seed: int
    rounds: int
    minutes: float

    def is_done(self, rows: Iterable[Row]) -> bool:
        """Whether every model has all its rounds in the results file."""
        done = {
            (row["model"], row["round"])
            for row in rows
            if row["data"].startswith(self.data)
            and row["protocol"] == self.protocol
            and row["seed"] == str(self.seed)
        }
        return all(
            (model, str(number)) in done for model in self.models for number in range(self.rounds)
        )

    def arguments(self, gtzan: Path) -> list[str]:
        """The arguments of `benchmarks.accuracy`, without the results file."""
        sources = {
            SPECTROGRAMS: ["--spectrograms", f"{gtzan}/spectrograms/log_mel_without_test.npz"],
            AUDIO: ["--data", f"{gtzan}/genres_original"],
            DESCRIPTORS: ["--descriptors", f"{gtzan}/features_30_sec.csv"],
        }
        arguments = [*sources[self.data], "--models", ",".join(self.models)]
        arguments += ["--protocol", self.protocol, "--seeds", str(self.seed)]
        if self.data == SPECTROGRAMS and any(name.startswith("music") for name in self.models):
            arguments += ["--real-music", f"{gtzan}/genres_original"]
        if self.protocol == "listed":
            arguments += ["--split-lists", f"{gtzan}/splits"]
        if self.protocol == "artist":
            arguments += ["--artists", f"{gtzan}/artists.csv"]
        if set(self.models) & set(_BACKBONES):
            arguments += ["--weights", "none"]  # no ImageNet weights come with a package
        return arguments

    def __str__(self) -> str:
        return f"{self.data}, {self.protocol}: {', '.join(self.models)}, seed {self.seed}"


def all_jobs() -> list[Job]:
    """The table's cells, the quick ones first."""
    jobs = [Job(DESCRIPTORS, "listed", ("ann",), seed, 1, 1) for seed in _SEEDS]
    for seed in _SEEDS:
        jobs += [
            Job(SPECTROGRAMS, "listed", (name,), seed, 1, minutes)
            for name, minutes in zip(_QUICK, (3, 3, 4, 2, 6), strict=True)
        ]
    jobs.append(Job(SPECTROGRAMS, "listed", ("crnn", "musictaggers", "ensemble"), 0, 1, 15))
    jobs += [
        Job(SPECTROGRAMS, "listed", (name,), 0, 1, minutes)
        for name, minutes in zip(_BACKBONES, (7, 14, 38, 8, 14), strict=True)
    ]
    jobs.append(Job(SPECTROGRAMS, "artist", ("crnn", "musictaggers", "ensemble"), 0, FOLDS, 42))
    jobs += [
        Job(SPECTROGRAMS, "artist", (name,), 0, FOLDS, minutes)
        for name, minutes in (("cnn", 13), ("lstm", 13), ("musicnn", 5))
    ]
    audio = ("ann", "cnn", "lstm", "crnn", "musicnn", "musicvgg", "musictaggers", "ensemble")
    jobs += [Job(AUDIO, "folds", audio, seed, FOLDS, 14) for seed in _SEEDS]
    jobs += [Job(AUDIO, "segment", audio[:-1], seed, 1, 12) for seed in _SEEDS]
    jobs += [  # one seed: a round of the larger ones takes three to nine minutes on a busy core
        Job(AUDIO, protocol, (name,), 0, rounds, minutes)
        for protocol, rounds, each in (
            ("folds", FOLDS, (8, 12, 35, 14, 21)),
            ("segment", 1, (2, 7, 16, 6, 10)),
        )
        for name, minutes in zip(_BACKBONES, each, strict=True)
    ]
    return sorted(jobs, key=lambda job: job.minutes)


def run(
    jobs: Sequence[Job], *, gtzan: Path, results: Path, hours: float, extra: Sequence[str] = ()
) -> bool:
    """Runs the open jobs that fit in a time, and says what happens.

    Args:
      jobs: In their order.
      gtzan: Folder with the audio, spectrograms, lists and table.
      results: The file that rows are appended to.
      hours: A job that would end later is left open.
      extra: Further arguments for every process.

    Returns:
      Whether every job that was begun succeeded.
    """
    end = time.monotonic() + 3600 * hours
    failed = 0
    for number, job in enumerate(jobs, start=1):
        place = f"{number}/{len(jobs)} {job}"
        if job.is_done(read(results)):
            print(f"{place}: there already", flush=True)
            continue
        if time.monotonic() + 60 * job.minutes > end:
            print(f"{place}: left open, it takes about {job.minutes:g} min", flush=True)
            continue
        print(f"{place}: about {job.minutes:g} min", flush=True)
        command = [sys.executable, "-m", "benchmarks.accuracy", *job.arguments(gtzan), *extra]
        done = subprocess.run([*command, "--results", str(results)], check=False)
        if done.returncode:
            failed += 1
            print(f"{place}: failed with exit code {done.returncode}", file=sys.stderr, flush=True)
    return not failed


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.regenerate", description="All figures of docs/results/index.md."
    )
    parser.add_argument("--gtzan", type=Path, default=Path("../shared/gtzan"))
    parser.add_argument("--results", type=Path, default=Path("output/results.csv"))
    parser.add_argument("--hours", type=float, default=6.0, help="of work to begin (default 6)")
    parser.add_argument("--list", action="store_true", help="only say what is there and what open")
    options = parser.parse_args(arguments)
    if not options.hours > 0:
        parser.error(f"--hours must be over 0. Received: {options.hours}")
    if not options.gtzan.is_dir():
        parser.error(f"--gtzan: there is no folder {options.gtzan}")
    jobs = all_jobs()
    try:
        prepare(options.results)
        if options.list:
            rows = read(options.results)
            for job in jobs:
                print(f"{'done' if job.is_done(rows) else f'{job.minutes:g} min':>8}  {job}")
            return
        succeeded = run(jobs, gtzan=options.gtzan, results=options.results, hours=options.hours)
        print(f"\n{results_table.table(read(options.results))}")
    except UserError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
