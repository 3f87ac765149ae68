"""Measures time and peak memory of ExampleGen, StatisticsGen and Transform by size of the data.

    python -m benchmarks.ingest --tracks 100,300,1000 [--data genres_original]
    python -m benchmarks.ingest --tracks 1000,5000 --runner flink --workers 1,2

Each size runs in a process of its own, on tracks that are made of parts of 0.1 s of the given ones,
each part from a random place and at a random speed: so no two tracks are near-duplicates, which are
compared bit by bit and would cost ten times what music usually costs. Memory is the process's peak
in each stage as Linux counts it (VmHWM); with Flink, which runs in Beam's job server, our code is
in the same process, and the job server's peak is a column of its own. Several numbers of workers
are compared in one run: the last column is how many times as fast as with the first of them it is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.gtzan.synthetic import write_sample
from pipeline.beam_runners import JOB_ENDPOINT, BeamConfig
from pipeline.flink.job_server import job_server

_PART_SECONDS = 0.1  # shorter than what a word of a fingerprint hears
STAGES = ("GtzanExampleGen", "StatisticsGen", "Transform")  # all Transforms together


def main() -> None:
    """Runs every size and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tracks", default="100,300,1000", help="sizes (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="tracks to copy (default: the synthetic sample)")
    parser.add_argument(
        "--features", default="log_mel,mfcc,music_mel", help="what Transform computes"
    )
    parser.add_argument("--runner", choices=("direct", "flink"), default="direct")
    parser.add_argument(
        "--workers",
        default="1",
        help="processes of direct, task slots of flink; several to compare (default: %(default)s)",
    )
    parser.add_argument(
        "--last", choices=STAGES, default="Transform", help="stage to stop after (default: all)"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        beam = BeamConfig(runner=options.runner, workers=int(options.workers))
        print(json.dumps(_measure(options.one, options.features.split(","), beam, options.last)))
        return
    if options.data and not options.data.is_dir():
        parser.error(f"--data: there is no folder {options.data}")
    data = options.data or write_sample("data/synthetic")
    console = Console(width=110)
    table = Table(title=f"copies of {data}, features {options.features}, {options.runner}")
    stages = STAGES[: STAGES.index(options.last) + 1]
    for column in ("tracks", "workers", *stages, "job server", "tracks/s", "times as fast"):
        table.add_column(column, justify="right")
    for count in map(int, options.tracks.split(",")):
        first = 0.0
        for workers in options.workers.split(","):
            result = _measure_apart(data, count, workers, options)
            seconds, peak = result["seconds"], result["peak_gib"]
            total = sum(seconds.values())
            first = first or total
            console.print(f"{count} tracks, {workers} workers: {total:.0f} s", highlight=False)
            counted = [stage for stage in stages if stage != "StatisticsGen"]
            table.add_row(
                str(count),
                workers,
                *(f"{seconds[stage]:.1f} s, {peak[stage]:.2f} GiB" for stage in stages),
                f"{peak['job server']:.2f} GiB" if "job server" in peak else "",
                f"{count / sum(seconds[stage] for stage in counted):.1f}",
                f"{first / total:.2f}",
            )
    console.print(table)


def _measure_apart(
    data: Path, count: int, workers: str, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Runs one size in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        _copy_tracks(data, Path(scratch) / "music", count)
        output = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.ingest"),
                *("--one", scratch, "--features", options.features),
                *("--runner", options.runner, "--workers", workers, "--last", options.last),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        ).stdout
    result: dict[str, dict[str, float]] = json.loads(output.splitlines()[-1])
    return result


def _copy_tracks(data: Path, folder: Path, count: int) -> None:
    """Writes `count` tracks, evenly over the genres, no two of them alike."""
    rate = AudioSettings().sample_rate_hz
    for index in range(count):
        genre = GENRES[index % len(GENRES)]
        sources = sorted((data / genre).iterdir())
        source = sources[index // len(GENRES) % len(sources)]
        samples = codec.decode(source.read_bytes(), name=source.name, sample_rate_hz=rate).samples
        samples = _scrambled(samples, round(rate * _PART_SECONDS), np.random.default_rng(index))
        target = folder / genre / f"{genre}.{index // len(GENRES):05d}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(codec.encode_wav(samples, rate))


def _scrambled(samples: np.ndarray, part: int, rng: np.random.Generator) -> np.ndarray:
    """Sound of parts of so many samples, from random places and at half to double speed."""
    count = len(samples) // part
    starts = rng.integers(len(samples) - 2 * part, size=(count, 1))
    speeds = 2 ** rng.uniform(-1, 1, size=(count, 1))
    places = (starts + speeds * np.arange(part)).ravel()
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def _measure(
    scratch: Path, features: list[str], beam: BeamConfig, last_kind: str
) -> dict[str, dict[str, float]]:
    """Runs the pipeline up to a stage in this process."""
    from pipeline.config import DataConfig, PipelineConfig
    from pipeline.local.stages import Observer, run_stages
    from pipeline.pipeline import create_pipeline

    models = {"log_mel": "cnn", "mfcc": "lstm", "music_mel": "musicnn", "descriptors": "ann"}
    config = PipelineConfig(
        data=DataConfig(str(scratch / "music")),
        output=str(scratch / "output"),
        models=tuple(models[name] for name in features),
        beam=beam,
    )
    (scratch / "output").mkdir()
    dag = create_pipeline(config, data_fingerprint="benchmark", run_id="benchmark")
    peaks: dict[str, float] = {}

    class Peaks(Observer):
        @contextmanager
        def running(self, stage: str) -> Iterator[None]:
            Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak so far
            yield
            peaks[stage] = _peak_gib("self")

    measured: dict[str, dict[str, float]] = {"seconds": {}, "peak_gib": {}}
    kinds = [node.id.partition("-")[0] for node in dag.components]
    last = len(kinds) - kinds[::-1].index(last_kind)
    only = [node.id for node in dag.components[:last]]
    with ExitStack() as stack:
        if beam.needs_job_server:
            server = job_server(scratch / "job-server.log")
            os.environ[JOB_ENDPOINT] = stack.enter_context(server)
        results = run_stages(dag, observer=Peaks(), only=only)
        for child in psutil.Process().children():
            if child.name() == "java":
                measured["peak_gib"]["job server"] = _peak_gib(str(child.pid))
    for kind in STAGES[: STAGES.index(last_kind) + 1]:
        stages = [stage for stage in results if stage.partition("-")[0] == kind]
        measured["seconds"][kind] = sum(results[stage].seconds for stage in stages)
        measured["peak_gib"][kind] = max(peaks[stage] for stage in stages)
    return measured


def _peak_gib(process: str) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


if __name__ == "__main__":
    main()
