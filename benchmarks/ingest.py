"""Tracks a second through ExampleGen and Transform, and peak memory, as the data grows.

    python -m benchmarks.ingest --tracks 100,300,1000 [--data genres_original]

Each size runs in a process of its own, on copies of the given tracks that differ in one sample so
that they are no duplicates. Memory is the process's peak in each stage
as Linux counts it (VmHWM).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.gtzan.synthetic import write_sample

STAGES = ("GtzanExampleGen", "StatisticsGen", "Transform")  # all Transforms together


def main() -> None:
    """Runs every size and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tracks", default="100,300,1000", help="sizes (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="tracks to copy (default: the synthetic sample)")
    parser.add_argument(
        "--features", default="log_mel,mfcc,music_mel", help="what Transform computes"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one, options.features.split(","))))
        return
    if options.data and not options.data.is_dir():
        parser.error(f"--data: there is no folder {options.data}")
    data = options.data or write_sample("data/synthetic")
    console = Console(width=110)
    table = Table(title=f"ingest of copies of {data}, features {options.features}")
    for column in ("tracks", *STAGES, "tracks/s"):
        table.add_column(column, justify="right")
    for count in map(int, options.tracks.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            _copy_tracks(data, Path(scratch) / "music", count)
            output = subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.ingest"),
                    *("--one", scratch, "--features", options.features),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
                text=True,
            ).stdout
        result = json.loads(output.splitlines()[-1])
        seconds, peak = result["seconds"], result["peak_gib"]
        total = sum(seconds.values())
        console.print(f"{count} tracks: {total:.0f} s", highlight=False)
        table.add_row(
            str(count),
            *(f"{seconds[stage]:.1f} s, {peak[stage]:.2f} GiB" for stage in STAGES),
            f"{count / (seconds['GtzanExampleGen'] + seconds['Transform']):.1f}",
        )
    console.print(table)


def _copy_tracks(data: Path, folder: Path, count: int) -> None:
    """Writes `count` tracks, evenly over the genres, each with one sample of its own."""
    rate = AudioSettings().sample_rate_hz
    for index in range(count):
        genre = GENRES[index % len(GENRES)]
        sources = sorted((data / genre).iterdir())
        source = sources[index // len(GENRES) % len(sources)]
        samples = codec.decode(source.read_bytes(), name=source.name, sample_rate_hz=rate).samples
        samples = np.array(samples)
        samples[len(samples) // 2 + index] = 0.5
        target = folder / genre / f"{genre}.{index // len(GENRES):05d}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(codec.encode_wav(samples, rate))


def _measure(scratch: Path, features: list[str]) -> dict[str, dict[str, float]]:
    """Runs the pipeline up to Transform in this process."""
    from components.batching import bound_batches_by_bytes
    from pipeline.config import DataConfig, PipelineConfig
    from pipeline.pipeline import create_pipeline
    from pipeline.stages import run_stages

    models = {"log_mel": "cnn", "mfcc": "lstm", "music_mel": "musicnn", "descriptors": "ann"}
    config = PipelineConfig(
        data=DataConfig(str(scratch / "music")),
        output=str(scratch / "output"),
        models=tuple(models[name] for name in features),
    )
    (scratch / "output").mkdir()
    bound_batches_by_bytes()
    dag = create_pipeline(config, data_fingerprint="benchmark")
    peaks: dict[str, float] = {}

    @contextmanager
    def watch(stage: str, *_: int) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak so far
        yield
        status = Path("/proc/self/status").read_text()
        peaks[stage] = int(status.partition("VmHWM:")[2].split()[0]) / 2**20

    *_, last = (node.id for node in dag.components if node.id.startswith("Transform"))
    results = run_stages(dag, watch=watch, finished=lambda _: None, last=last)
    found: dict[str, dict[str, float]] = {"seconds": {}, "peak_gib": {}}
    for kind in STAGES:
        stages = [stage for stage in results if stage.partition("-")[0] == kind]
        found["seconds"][kind] = sum(results[stage].seconds for stage in stages)
        found["peak_gib"][kind] = max(peaks[stage] for stage in stages)
    return found


if __name__ == "__main__":
    main()
